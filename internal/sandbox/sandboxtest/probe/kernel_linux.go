package main

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

func emptyFiles(mib int) error { return emptyIn("/dev/shm", mib) }

func emptyTemporary(mib int) error { return emptyIn("/tmp", mib) }

// emptyIn makes files in memory without any content.
func emptyIn(dir string, mib int) error {
	for i := range mib << 20 / sizeInode {
		fd, err := unix.Open(fmt.Sprintf("%s/%d", dir, i), unix.O_CREAT|unix.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		unix.Close(fd)
	}
	return nil
}

// messages fills queues of System V messages.
func messages(mib int) error {
	const size = 8192
	message := make([]byte, 8+size)
	message[0] = 1 // its type
	for left := mib << 20; left > 0; {
		id, _, e := unix.Syscall(unix.SYS_MSGGET, unix.IPC_PRIVATE, unix.IPC_CREAT|0o600, 0)
		if e != 0 {
			return e
		}
		for e == 0 {
			_, _, e = unix.Syscall6(unix.SYS_MSGSND, id, uintptr(unsafe.Pointer(&message[0])), size, unix.IPC_NOWAIT, 0, 0)
			left -= size
		}
	}
	return nil
}

// semaphores makes sets of System V semaphores.
func semaphores(mib int) error {
	const each, size = 30_000, 64
	for range max(mib<<20/(each*size), 1) {
		if _, _, e := unix.Syscall(unix.SYS_SEMGET, unix.IPC_PRIVATE, each, unix.IPC_CREAT|0o600); e != 0 {
			return e
		}
	}
	return nil
}

// locks locks many parts of files.
func locks(mib int) error {
	const each = 500
	for left := mib << 20 / sizeLock; left > 0; left -= each {
		fd, err := unix.MemfdCreate("", 0)
		if err != nil {
			return err
		}
		for i := range each {
			lock := unix.Flock_t{Type: unix.F_WRLCK, Start: int64(2 * i), Len: 1}
			if err := unix.FcntlFlock(uintptr(fd), unix.F_SETLK, &lock); err != nil {
				return err
			}
		}
	}
	return nil
}

// timers makes as many timers as possible.
func timers(mib int) error {
	for range mib << 20 / sizeTimer {
		var id uintptr
		if _, _, e := unix.Syscall(unix.SYS_TIMER_CREATE, unix.CLOCK_MONOTONIC, 0, uintptr(unsafe.Pointer(&id))); e != 0 {
			return e
		}
	}
	return nil
}

// filters has threads filter their system calls with programs of the greatest length.
func filters(mib int) error {
	const each, size = 3, 4096 * 16 // of a program, compiled and uncompiled
	done := make(chan error)
	for left := mib << 20; left > 0; left -= each * size {
		go func() {
			runtime.LockOSThread()
			done <- filtered(each)
			select {}
		}()
		if err := <-done; err != nil {
			return err
		}
	}
	return nil
}

func filtered(times int) error {
	program := make([]unix.SockFilter, 4096)
	for i := range program {
		program[i] = unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	for range times {
		if _, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog))); e != 0 {
			return e
		}
	}
	return nil
}

// terminals fills terminals.
func terminals(mib int) error {
	data := make([]byte, 4096)
	for i := range data {
		data[i] = 'x'
	}
	for left := mib << 20; left > 0; left -= 128 << 10 {
		ours, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		if err := unix.IoctlSetPointerInt(ours, unix.TIOCSPTLCK, 0); err != nil {
			return err
		}
		n, err := unix.IoctlGetInt(ours, unix.TIOCGPTN)
		if err != nil {
			return err
		}
		theirs, err := unix.Open(fmt.Sprintf("/dev/pts/%d", n), unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		for _, fd := range []int{theirs, ours} {
			for range 64 {
				if _, err := unix.Write(fd, data); err != nil {
					break
				}
			}
		}
	}
	return nil
}

// descriptors opens files that cost the kernel an open file description and little else.
func descriptors(mib int) error {
	for left := mib << 20 / (2 * sizeDescriptor); left > 0; {
		var limit unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			return err
		}
		n := min(left, int(limit.Max)-100)
		if err := again("counters", fmt.Sprint(n)); err != nil {
			return err
		}
		left -= n
	}
	return nil
}

func counters(args []string) error {
	var n int
	if _, err := fmt.Sscan(args[0], &n); err != nil {
		return err
	}
	for range n {
		if _, err := unix.Eventfd(0, 0); err != nil {
			return err
		}
	}
	stay()
	return nil
}

// watches makes large sets of files to wait for.
func watches(mib int) error {
	const each = 2000
	var events []int
	for range each {
		fd, err := unix.Eventfd(0, 0)
		if err != nil {
			return err
		}
		events = append(events, fd)
	}
	for left := mib << 20 / sizeWatch; left > 0; left -= each {
		set, err := unix.EpollCreate1(0)
		if err != nil {
			return err
		}
		for _, fd := range events {
			if err := unix.EpollCtl(set, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Fd: int32(fd)}); err != nil {
				return err
			}
		}
	}
	return nil
}

// files makes the given number of entries of a kind, in directories of 1000.
func files(args []string) error {
	var n int
	if _, err := fmt.Sscan(args[0], &n); err != nil {
		return err
	}
	for i := range n {
		dir := fmt.Sprint("d", i/1000)
		name := fmt.Sprint(dir, "/", i)
		var err error
		if i%1000 == 0 {
			err = os.Mkdir(dir, 0o755)
		}
		switch {
		case err != nil:
		case args[1] == "empty":
			err = os.WriteFile(name, nil, 0o644)
		case args[1] == "link":
			err = os.Symlink("x", name)
		case args[1] == "name" && i == 0:
			err = os.WriteFile("first", nil, 0o644)
			fallthrough
		case args[1] == "name":
			if i%30_000 == 0 { // the number of a file's names is limited
				os.Remove("first")
				err = os.WriteFile("first", nil, 0o644)
			}
			if err == nil {
				err = os.Link("first", name)
			}
		case args[1] == "directory":
			err = os.Mkdir(name, 0o755)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func init() { commands["counters"] = counters }
