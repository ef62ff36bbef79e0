package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// polls has threads wait for one file as often as possible.
func polls(mib int) error {
	const each = 64 // of the kernel's memory, for a file
	var p [2]int
	if err := unix.Pipe(p[:]); err != nil {
		return err
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	files := make([]unix.PollFd, limit.Cur)
	for i := range files {
		files[i] = unix.PollFd{Fd: int32(p[0]), Events: unix.POLLIN}
	}
	for left := mib << 20; left > 0; left -= len(files) * each {
		go func() {
			runtime.LockOSThread()
			_, _ = unix.Poll(files, -1)
		}()
	}
	return nil
}

// events changes watched files, and never reads the events. The names are long, and part of
// each event.
func events(mib int) error {
	const each, most = 300, 16000
	const dir = "/dev/shm/watched/"
	names := []string{dir + strings.Repeat("a", 250), dir + strings.Repeat("b", 250)}
	err := os.Mkdir(dir, 0o700)
	for _, name := range names {
		err = errors.Join(err, os.WriteFile(name, nil, 0o600))
	}
	for left := mib << 20; left > 0 && err == nil; left -= each * most {
		var set int
		if set, err = unix.InotifyInit(); err == nil {
			_, err = unix.InotifyAddWatch(set, dir, unix.IN_OPEN)
		}
		kept = append(kept, set)
	}
	for i := 0; i < most && err == nil; i++ {
		var fd int
		if fd, err = unix.Open(names[i%2], unix.O_RDONLY, 0); err == nil {
			unix.Close(fd)
		}
	}
	return err
}

// idle keeps many empty pipes and sockets for a while.
func idle(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	listener, at, err := bound(unix.SOCK_STREAM)
	if err == nil {
		err = unix.Listen(listener, 100)
	}
	for range n {
		var p [2]int
		if err == nil {
			err = unix.Pipe(p[:])
		}
		if err == nil {
			_, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		}
		if err == nil {
			_, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
		}
		fd := 0
		if err == nil {
			fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		}
		if err == nil {
			err = unix.Connect(fd, at)
		}
		if err == nil {
			_, _, err = unix.Accept(listener)
		}
	}
	if err == nil {
		time.Sleep(time.Second)
	}
	return err
}

// blind keeps the first process from opening files, for each of its threads, permanently or
// not, and then does what the other arguments say. A refusal is not an error.
func blind(args []string) error {
	limit := unix.Rlimit{Cur: 3, Max: 1 << 19}
	if args[0] == "hard" {
		limit.Max = 3
	}
	names, _ := os.ReadDir("/proc/1/task")
	for _, name := range names {
		tid, err := strconv.Atoi(name.Name())
		if err != nil {
			return err
		}
		if args[0] != "hard" {
			var had unix.Rlimit
			if unix.Prlimit(tid, unix.RLIMIT_NOFILE, nil, &had) == nil {
				limit.Max = had.Max
			}
		}
		_ = unix.Prlimit(tid, unix.RLIMIT_NOFILE, &limit, nil)
	}
	run, ok := commands[args[1]]
	if !ok {
		return fmt.Errorf("no command %q", strings.Join(args[1:], " "))
	}
	return run(args[2:])
}

// undumpable keeps other processes of the same user from looking at the process, like
// agents that hold keys, and then does what the other arguments say.
func undumpable(args []string) error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return err
	}
	return commands[args[0]](args[1:])
}

func init() {
	commands["blind"] = blind
	commands["undumpable"] = undumpable
}
