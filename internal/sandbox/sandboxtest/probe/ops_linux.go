package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ops makes the system calls that a program in a file lists, one per line, and prints each
// result: its line, its name and the error, or what it returned. The words of a line are
// the call's arguments (see callTable):
//
//	openat 3 d/f O_CREAT|O_WRONLY 0644    the new file is slot 3
//	fchown 3 5 6
//	linkat @3: @4:name AT_EMPTY_PATH      @4: is a directory in a slot
//	stat /proc/self/fd/%3                 %3 is a slot's descriptor
//	chmod %./d/f 0600                     %. is where the program began
//	stat /proc/%p/cwd                     %p is the parent's process id
//	stat %L                               %L is a name that is too long
//	stat !bad                             an invalid address instead of a text
//
// A word may be quoted as in Go. Blocks end with a line "}":
//
//	in DIR {                 a program of its own, in a directory
//	fork {                   in another process
//	as 7 {  as 7:8:9,10 {    in another process with this user, group and groups
//	thread {                 in another thread of this process
//	repeat 300 {             that many times, printing what differs from the last time
//
// Each process is this program, run anew: with the same slots, which the other gets back as
// they are at its end, unless it is a program of its own, and with a working directory,
// mask and root of its own. A malformed program ends with a message and exit code 2,
// possibly in the middle.
func ops(args []string) error {
	text, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	debug.SetGCPercent(-1) // see address
	m := &machine{said: map[int]string{}}
	m.keepSelf()
	m.start()
	m.run(parse(string(text), 0))
	return nil
}

// opsBlock runs a block as another process: with a socket to the parent, the block's line
// and words, the path where the program began, and the block's text.
func opsBlock(args []string) error {
	debug.SetGCPercent(-1)
	parent := int(integer(args[0]))
	unix.CloseOnExec(parent)
	m := &machine{base: args[3], said: map[int]string{}}
	o := op{line: int(integer(args[1])), words: strings.Fields(args[2])}
	first := o.line
	switch o.words[0] {
	case "in":
		fmt.Printf("== %s\n", o.word(1))
		if err := unix.Chdir(o.word(1)); err != nil {
			return err
		}
		m.start()
		first = 0
	case "as":
		if e := become(o.word(1)); e != 0 {
			m.say(o, outcome(e))
		}
	}
	m.run(parse(args[4], first))
	return sendSlots(parent)
}

// op is one line, and its block if one begins there.
type op struct {
	line  int
	words []string
	block string
}

// parse parses the lines of a program; first is the number of the line before it.
func parse(text string, first int) (program []op) {
	lines := strings.Split(text, "\n")
	for at := 0; at < len(lines); at++ {
		o := op{line: first + at + 1, words: splitWords(lines[at])}
		if len(o.words) == 0 {
			continue
		}
		if last := len(o.words) - 1; o.words[last] == "{" {
			o.words = o.words[:last]
			end := blockEnd(lines, at+1)
			o.block = strings.Join(lines[at+1:end], "\n")
			at = end
		}
		program = append(program, o)
	}
	return program
}

// blockEnd finds the line that ends the block that begins before at.
func blockEnd(lines []string, at int) int {
	for depth := 1; at < len(lines); at++ {
		switch words := splitWords(lines[at]); {
		case len(words) == 0:
		case words[0] == "}":
			if depth--; depth == 0 {
				return at
			}
		case words[len(words)-1] == "{":
			depth++
		}
	}
	malformed("a block does not end")
	return 0
}

func splitWords(line string) (words []string) {
	for line = strings.TrimSpace(line); line != "" && line[0] != '#'; line = strings.TrimSpace(line) {
		word := line
		if line[0] == '"' {
			var err error
			if word, err = strconv.QuotedPrefix(line); err != nil {
				malformed("%s: %v", line, err)
			}
		} else if end := strings.IndexAny(line, " \t"); end >= 0 {
			word = line[:end]
		}
		line = line[len(word):]
		words = append(words, word)
	}
	return words
}

// machine runs operations in one process.
type machine struct {
	base string // the absolute path where the program began
	// said is what was printed for each line; quiet says not to print it again.
	said  map[int]string
	quiet bool
}

func (m *machine) start() {
	var err error
	if m.base, err = unix.Getwd(); err != nil {
		malformed("getwd: %v", err)
	}
}

func malformed(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "probe ops: "+format+"\n", args...)
	os.Exit(2)
}

func (m *machine) say(o op, text string) {
	if m.quiet && m.said[o.line] == text {
		return
	}
	m.said[o.line] = text
	fmt.Printf("%d %s: %s\n", o.line, o.words[0], text)
}

func (m *machine) run(program []op) {
	for _, o := range program {
		switch o.words[0] {
		case "in", "fork", "as":
			m.fork(o)
		case "repeat":
			block := parse(o.block, o.line)
			for range integer(o.word(1)) {
				m.run(block)
				m.quiet = true
			}
			m.quiet = false
		case "exec":
			m.exec(o)
		case "thread":
			m.thread(o)
		case "bind", "connect":
			m.say(o, m.socket(o))
		case "capget":
			m.say(o, showCapabilities())
		case "capset":
			m.say(o, setCapabilities(o))
		case "map":
			m.say(o, m.writeMapped(o))
		case "splice":
			m.say(o, m.splice(o))
		case "readdir":
			m.say(o, m.readDir(o))
		case "killparent":
			pid, _, _ := unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0)
			_, _, e := unix.RawSyscall(unix.SYS_KILL, pid, uintptr(integer(o.word(1))), 0)
			m.say(o, outcome(e))
		default:
			m.say(o, m.call(o))
		}
	}
}

// word returns an argument, which must exist.
func (o op) word(n int) string {
	if n >= len(o.words) {
		malformed("line %d: %q has too few words", o.line, o.words)
	}
	return o.words[n]
}

// thread runs a block in a thread that ends with it.
func (m *machine) thread(o op) {
	done := make(chan bool)
	go func() {
		runtime.LockOSThread()
		m.run(parse(o.block, o.line))
		close(done)
	}()
	<-done
}

// become gives the process the ids of "user:group:groups".
func become(who string) unix.Errno {
	ids := strings.Split(who, ":")
	uid := identity(ids[0])
	gid := uid
	if len(ids) > 1 {
		gid = identity(ids[1])
	}
	var groups []uint32
	if len(ids) > 2 {
		groups = identityList(ids[2])
	}
	for _, c := range [][4]uintptr{
		{unix.SYS_SETGROUPS, uintptr(len(groups)), address(groups)},
		{unix.SYS_SETRESGID, gid, gid, gid},
		{unix.SYS_SETRESUID, uid, uid, uid},
	} {
		if _, _, e := unix.RawSyscall(c[0], c[1], c[2], c[3]); e != 0 {
			return e
		}
	}
	return 0
}

// socket makes a socket, and gives it a name or connects it to the one with that name.
func (m *machine) socket(o op) string {
	fd, _, e := unix.RawSyscall(unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if e != 0 {
		return outcome(e)
	}
	name := m.expand(o.word(1))
	addr := append([]byte{unix.AF_UNIX, 0}, name...)
	number := map[string]uintptr{"bind": unix.SYS_BIND, "connect": unix.SYS_CONNECT}[o.words[0]]
	_, _, e = unix.RawSyscall(number, fd, address(append(addr, 0)), uintptr(len(addr)+1))
	_, _, _ = unix.RawSyscall(unix.SYS_CLOSE, fd, 0, 0)
	return outcome(e)
}

// writeMapped writes a text to the beginning of a mapped file, which has room for it.
func (m *machine) writeMapped(o op) string {
	const size = 4096
	text := m.value(o.word(2))
	end, _, e := unix.RawSyscall(unix.SYS_LSEEK, m.slot(o.word(1)), 0, unix.SEEK_END)
	if e == 0 && end < uintptr(len(text)) {
		return "too short"
	}
	at, _, e := unix.RawSyscall6(unix.SYS_MMAP, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED, m.slot(o.word(1)), 0)
	if e != 0 {
		return outcome(e)
	}
	copy(mapped(at, size), text)
	_, _, e = unix.RawSyscall(unix.SYS_MSYNC, at, size, unix.MS_SYNC)
	_, _, _ = unix.RawSyscall(unix.SYS_MUNMAP, at, size, 0)
	return outcome(e)
}

// readDir lists the directory in a slot.
func (m *machine) readDir(o op) string {
	fd := m.slot(o.word(1))
	var names []string
	buf := make([]byte, 4096)
	for {
		n, _, e := unix.RawSyscall(unix.SYS_GETDENTS64, fd, address(buf), uintptr(len(buf)))
		if e != 0 {
			return outcome(e)
		}
		if n == 0 {
			break
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// splice moves bytes from one slot's file to another's, through a pipe.
func (m *machine) splice(o op) string {
	from, to, size := m.slot(o.word(1)), m.slot(o.word(2)), uintptr(integer(o.word(3)))
	pipe := make([]int, 2)
	if err := unix.Pipe2(pipe, unix.O_CLOEXEC); err != nil {
		malformed("pipe: %v", err)
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	n, _, e := unix.RawSyscall6(unix.SYS_SPLICE, from, 0, uintptr(pipe[1]), 0, size, 0)
	if e == 0 {
		n, _, e = unix.RawSyscall6(unix.SYS_SPLICE, uintptr(pipe[0]), 0, to, 0, n, 0)
	}
	if e != 0 {
		return outcome(e)
	}
	return strconv.Itoa(int(n))
}
