package main

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// selfFD is this program, to be run again, in every process.
const selfFD = slots - 1

// keepSelf opens this program, which cannot be named in another root.
func (m *machine) keepSelf() {
	fd, err := unix.Open("/proc/self/exe", unix.O_RDONLY, 0)
	if err != nil {
		malformed("open this program: %v", err)
	}
	keepAs(uintptr(fd), selfFD)
}

// fork runs a block in another process, and waits for it.
func (m *machine) fork(o op) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		malformed("socketpair: %v", err)
	}
	defer unix.Close(pair[0])
	if _, err := unix.FcntlInt(uintptr(pair[1]), unix.F_SETFD, 0); err != nil {
		malformed("fcntl: %v", err)
	}
	pid, e := spawn(selfFD, "", unix.AT_EMPTY_PATH,
		"probe", "ops-block", strconv.Itoa(pair[1]), strconv.Itoa(o.line), strings.Join(o.words, " "), m.base, o.block)
	unix.Close(pair[1])
	if e != 0 {
		m.say(o, outcome(e))
		return
	}
	got := receiveSlots(pair[0], o.words[0] != "in")
	if status := wait(pid); status != 0 {
		m.say(o, fmt.Sprintf("ended with %#x", uint32(status)))
	} else if !got {
		malformed("line %d: no slots came back", o.line)
	}
}

// exec runs a file as a program, with the arguments that follow, in another process.
func (m *machine) exec(o op) {
	var argv []string
	for _, w := range o.words[1:] {
		argv = append(argv, m.expand(w))
	}
	pid, e := spawn(workingDir, o.word(1), 0, argv...)
	if e != 0 {
		m.say(o, outcome(e))
		return
	}
	m.say(o, fmt.Sprintf("ended with %#x", uint32(wait(pid))))
}

// spawn runs a program in another process. Before that, the process makes nothing but
// system calls: it lacks this one's threads, which may hold locks.
func spawn(dir uintptr, name string, flags uintptr, words ...string) (pid uintptr, e unix.Errno) {
	var argv []uintptr
	for _, w := range words {
		argv = append(argv, pointer(w))
	}
	pipe := make([]int, 2)
	if err := unix.Pipe2(pipe, unix.O_CLOEXEC); err != nil {
		malformed("pipe: %v", err)
	}
	why := make([]unix.Errno, 1)
	program, arguments, environment, reason := pointer(name), address(append(argv, 0)), address([]uintptr{0}), address(why)
	pid, _, e = unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if pid == 0 && e == 0 {
		_, _, why[0] = unix.RawSyscall6(unix.SYS_EXECVEAT, dir, program, arguments, environment, flags, 0)
		_, _, _ = unix.RawSyscall(unix.SYS_WRITE, uintptr(pipe[1]), reason, 8)
		for {
			_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
		}
	}
	unix.Close(pipe[1])
	defer unix.Close(pipe[0])
	if e != 0 {
		return 0, e
	}
	if _, _, e := unix.RawSyscall(unix.SYS_READ, uintptr(pipe[0]), reason, 8); e != 0 {
		malformed("read from another process: %v", e)
	}
	if why[0] != 0 {
		wait(pid)
	}
	return pid, why[0]
}

func wait(pid uintptr) unix.WaitStatus {
	var status unix.WaitStatus
	for {
		_, err := unix.Wait4(int(pid), &status, 0, nil)
		if err == nil {
			return status
		}
		if err != unix.EINTR {
			malformed("wait: %v", err)
		}
	}
}

const maxSlots = 10

// sendSlots sends the slots of a process that has run a block.
func sendSlots(to int) error {
	var fds []int
	names := []byte("slots")
	for i := range maxSlots {
		if _, err := unix.FcntlInt(uintptr(slots+i), unix.F_GETFD, 0); err == nil {
			fds = append(fds, slots+i)
			names = append(names, byte(i))
		}
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	return unix.Sendmsg(to, names, rights, nil, 0)
}

// receiveSlots puts what sendSlots has sent into the slots, or discards it.
func receiveSlots(from int, keep bool) bool {
	names, rights := make([]byte, 100), make([]byte, unix.CmsgSpace(4*maxSlots))
	n, size, _, _, err := unix.Recvmsg(from, names, rights, unix.MSG_CMSG_CLOEXEC)
	if err != nil || n == 0 {
		return false
	}
	for i := 0; keep && i < maxSlots; i++ {
		unix.Close(slots + i) // it may not be open
	}
	messages, err := unix.ParseSocketControlMessage(rights[:size])
	if err != nil {
		malformed("slots: %v", err)
	}
	names = names[len("slots"):n]
	for _, message := range messages {
		fds, err := unix.ParseUnixRights(&message)
		if err != nil || len(fds) != len(names) {
			malformed("slots: %d of %d, %v", len(fds), len(names), err)
		}
		for i, fd := range fds {
			if keep {
				keepAs(uintptr(fd), slots+uintptr(names[i]))
			} else {
				unix.Close(fd)
			}
		}
	}
	return true
}
