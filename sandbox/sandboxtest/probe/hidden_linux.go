package main

import (
	"fmt"
	"os"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What follows has memory or room on disk, little of which a list of processes or
// of open files shows at any moment.

const mapping = unix.MAP_SHARED | unix.MAP_ANONYMOUS

// dropped writes to shared memory, and takes what it wrote out of its page tables at once.
func dropped(mib int) error {
	data, err := unix.Mmap(-1, 0, mib<<20, unix.PROT_READ|unix.PROT_WRITE, mapping)
	for len(data) > 0 && err == nil {
		fill(data[:1<<20])
		err = unix.Madvise(data[:1<<20], unix.MADV_DONTNEED)
		data = data[1<<20:]
	}
	return err
}

// trimmed writes to pieces of shared memory, and unmaps all but a page of each.
func trimmed(mib int) error {
	const size = 1 << 20
	page := uintptr(os.Getpagesize())
	for range mib {
		at, err := unix.MmapPtr(-1, 0, nil, size, unix.PROT_READ|unix.PROT_WRITE, mapping)
		if err != nil {
			return err
		}
		fill(unsafe.Slice((*byte)(at), size))
		if err := unix.MunmapPtr(unsafe.Add(at, page), size-page); err != nil {
			return err
		}
	}
	return nil
}

// onlyMapped writes to files in memory, and keeps of each a page that it has mapped.
func onlyMapped(mib int) error {
	for range mib {
		fd, err := unix.MemfdCreate("", 0)
		if err != nil {
			return err
		}
		if err := keepMapped(fd); err != nil {
			return err
		}
	}
	return nil
}

// keepMapped writes 1 MiB to an open file, maps a page of it, and closes it.
func keepMapped(fd int) error {
	defer unix.Close(fd)
	if _, err := unix.Write(fd, make([]byte, 1<<20)); err != nil {
		return err
	}
	data, err := unix.Mmap(fd, 0, os.Getpagesize(), unix.PROT_READ, unix.MAP_PRIVATE)
	kept = append(kept, data)
	return err
}

// information opens again and again what says for what a set of files waits, which
// is long, and keeps it after the set was emptied.
func information(mib int) error {
	const most, each = 8000, 8000 * 64
	var p [2]int
	set, err := unix.EpollCreate1(0)
	if err == nil {
		err = unix.Pipe(p[:])
	}
	files := make([]int, most)
	if err == nil {
		err = unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 2 * most, Max: 2 * most})
	}
	for i := range files {
		if err == nil {
			files[i], err = unix.FcntlInt(uintptr(p[0]), unix.F_DUPFD, 10)
		}
		if err == nil {
			err = unix.EpollCtl(set, unix.EPOLL_CTL_ADD, files[i], &unix.EpollEvent{})
		}
	}
	name := fmt.Sprintf("/proc/self/fdinfo/%d", set)
	for left := mib << 20; left > 0 && err == nil; left -= each {
		var fd int
		if fd, err = unix.Open(name, unix.O_RDONLY, 0); err == nil {
			_, err = unix.Read(fd, make([]byte, 1))
		}
	}
	for _, fd := range files {
		unix.Close(fd)
	}
	return err
}

// disks are the ways to have files on disk that have no name.
var disks = map[string]func(fd int) error{
	"mapped": keepMapped,
	"sent":   sendAway,
}

// sendAway writes 1 MiB to an open file, and sends it over a socket to nobody.
func sendAway(fd int) error {
	if len(kept) == 0 {
		ours, _, err := pair(unix.SOCK_STREAM)
		if err != nil {
			return err
		}
		kept = append(kept, ours)
	}
	if _, err := unix.Write(fd, make([]byte, 1<<20)); err != nil {
		return err
	}
	return pass(kept[0].(int), fd)
}

// disk writes to so many files of 1 MiB each, and keeps them in a way, without a name.
func disk(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	keep, ok := disks[args[1]]
	if !ok {
		return fmt.Errorf("no way %q", args[1])
	}
	for range n {
		fd, err := unix.Open("f", unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, 0o600)
		if err == nil {
			err = unix.Unlink("f")
		}
		if err == nil {
			err = keep(fd)
		}
		if err != nil {
			return err
		}
	}
	stay()
	return nil
}

func init() { commands["disk"] = disk }
