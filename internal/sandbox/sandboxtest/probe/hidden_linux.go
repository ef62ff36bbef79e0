package main

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The following ways use memory or disk of which lists of processes or open files show
// little at any moment.

const mapping = unix.MAP_SHARED | unix.MAP_ANONYMOUS

// dropped writes to shared memory, and removes it from its page tables at once.
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

// onlyMapped writes to files in memory, and keeps of each only one mapped page.
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

// information opens again and again the long list of what a set of files waits for, and
// keeps it after the set was emptied.
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

// program runs programs that no longer have anything of their files mapped.
func program(mib int) error {
	for range mib {
		fd, err := unix.MemfdCreate("", unix.MFD_CLOEXEC)
		if err == nil {
			err = runHollow(fd)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// runHollow writes such a program of 1 MiB to an open file, starts it, and closes the file.
func runHollow(fd int) error {
	content := append(hollow(), make([]byte, 1<<20)...)
	if _, err := unix.Write(fd, content); err != nil {
		return err
	}
	name := fmt.Sprintf("/proc/self/fd/%d", fd)
	read, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	unix.Close(fd) // a file that is open for writing cannot be run
	err = exec.Command(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), read)).Start()
	unix.Close(read)
	return err
}

// hollow returns a program for amd64 that copies a part of itself to memory of its own,
// unmaps its file from there, and waits for ever.
func hollow() []byte {
	const base, size = 0x400000, 0x1000
	header := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
		Entry: base + 64 + 56, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1,
	}
	segment := elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Vaddr: base, Filesz: size, Memsz: size, Align: size}
	var b bytes.Buffer
	_ = binary.Write(&b, binary.LittleEndian, header) // writing to a buffer never fails
	_ = binary.Write(&b, binary.LittleEndian, segment)
	b.Write([]byte{
		0x31, 0xff, // xor edi, edi
		0xbe, 0x00, 0x10, 0x00, 0x00, // mov esi, size
		0xba, 0x07, 0x00, 0x00, 0x00, // mov edx, PROT_READ|PROT_WRITE|PROT_EXEC
		0x41, 0xba, 0x22, 0x00, 0x00, 0x00, // mov r10d, MAP_PRIVATE|MAP_ANONYMOUS
		0x49, 0x83, 0xc8, 0xff, // or r8, -1
		0x45, 0x31, 0xc9, // xor r9d, r9d
		0xb8, 0x09, 0x00, 0x00, 0x00, 0x0f, 0x05, // mov eax, SYS_mmap; syscall
		0x48, 0x89, 0xc3, 0x48, 0x89, 0xc7, // mov rbx, rax; mov rdi, rax
		0x48, 0x8d, 0x35, 0x09, 0x00, 0x00, 0x00, // lea rsi, [rip+9]
		0xb9, 0x40, 0x00, 0x00, 0x00, // mov ecx, 64
		0xf3, 0xa4, 0xff, 0xe3, // rep movsb; jmp rbx
		0xb8, 0x0b, 0x00, 0x00, 0x00, // mov eax, SYS_munmap
		0xbf, 0x00, 0x00, 0x40, 0x00, // mov edi, base
		0xbe, 0x00, 0x10, 0x00, 0x00, 0x0f, 0x05, // mov esi, size; syscall
		0xb8, 0x22, 0x00, 0x00, 0x00, 0x0f, 0x05, 0xeb, 0xf7, // mov eax, SYS_pause; syscall; again
	})
	return append(b.Bytes(), make([]byte, size)...)
}

// connected fills connections to itself whose ends are only mapped.
func connected(mib int) error {
	listener, at, err := bound(unix.SOCK_STREAM)
	if err == nil {
		err = unix.Listen(listener, 100)
	}
	if err != nil {
		return err
	}
	return pourInto(mib, func() (int, error) {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err == nil {
			err = unix.Connect(fd, at)
		}
		if err != nil {
			return -1, err
		}
		other, _, err := unix.Accept(listener)
		for _, end := range []int{fd, other} {
			if err == nil {
				_, err = unix.Mmap(end, 0, os.Getpagesize(), unix.PROT_READ, unix.MAP_SHARED)
			}
		}
		if err == nil {
			err = unix.SetNonblock(fd, true)
		}
		unix.Close(other)
		return fd, err
	}, closed)
}

// lockedAway locks many parts of files that are only mapped.
func lockedAway(mib int) error {
	const each = 500
	for left := mib << 20 / sizeLock; left > 0; left -= each {
		fd, err := unix.MemfdCreate("", 0)
		if err == nil {
			err = unix.Ftruncate(fd, int64(os.Getpagesize()))
		}
		if err == nil {
			_, err = unix.Mmap(fd, 0, os.Getpagesize(), unix.PROT_READ, unix.MAP_SHARED)
		}
		for i := 0; i < each && err == nil; i++ {
			err = unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Start: int64(2 * i), Len: 1})
		}
		unix.Close(fd)
		if err != nil {
			return err
		}
	}
	return nil
}

// away moves the files in one directory out of the way of a process that walks through the
// tree, whose position the kernel reports.
func away(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	first, last, err := manyDirs("d")
	if err != nil {
		return err
	}
	set, err := unix.InotifyInit()
	if err != nil {
		return err
	}
	watches := map[string]int{}
	for _, dir := range []string{first, last} {
		if watches[dir], err = unix.InotifyAddWatch(set, dir, unix.IN_CLOSE_NOWRITE|unix.IN_ONLYDIR); err != nil {
			return err
		}
	}
	if err := os.Mkdir(last+"/big", 0o755); err != nil {
		return err
	}
	dir, err := unix.Open(last+"/big", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	go fillDir(dir, n)
	return onWatch(set, func(watch int) {
		switch watch {
		case watches[first]:
			_ = os.Rename(last+"/big", first+"/big") // it may have been moved already
		case watches[last]:
			_ = os.Rename(first+"/big", last+"/big")
		}
	})
}

// manyDirs makes so many directories that walking through them takes a while, and returns
// which one the kernel lists first and which last.
func manyDirs(dir string) (first, last string, err error) {
	const number, entries = 60, 100
	for i := range number {
		for j := range entries {
			if err := os.MkdirAll(fmt.Sprintf("%s/%d/%d", dir, i, j), 0o755); err != nil {
				return "", "", err
			}
		}
	}
	names, err := readOrder(dir)
	if err != nil {
		return "", "", err
	}
	return dir + "/" + names[0], dir + "/" + names[len(names)-1], nil
}

// fillDir writes to files in an open directory, of 1 MiB each.
func fillDir(dir, n int) {
	for i := range n {
		fd, err := unix.Openat(dir, strconv.Itoa(i), unix.O_CREAT|unix.O_WRONLY, 0o644)
		if err == nil {
			_, err = unix.Write(fd, make([]byte, 1<<20))
		}
		if err != nil {
			fmt.Println(err)
		}
		unix.Close(fd)
	}
	fmt.Println("used")
}

// onWatch calls a function with the watches that inotify(7) reports.
func onWatch(set int, then func(watch int)) error {
	buf := make([]byte, 4096)
	for {
		got, err := unix.Read(set, buf)
		if err != nil {
			return err
		}
		for at := buf[:got]; len(at) >= unix.SizeofInotifyEvent; {
			watch, size := binary.NativeEndian.Uint32(at), binary.NativeEndian.Uint32(at[12:])
			at = at[unix.SizeofInotifyEvent+size:]
			then(int(watch))
		}
	}
}

// readOrder returns a directory's entries in the kernel's order.
func readOrder(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// disks are the ways to have files on disk that have no name.
var disks = map[string]func(fd int) error{
	"mapped":  keepMapped,
	"sent":    sendAway,
	"program": runHollow,
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

// disk writes to the given number of files of 1 MiB each, and keeps them in one of the
// ways, without a name.
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
		fd, err := unix.Open("f", unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, 0o700)
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

func init() {
	commands["disk"] = disk
	commands["away"] = away
}
