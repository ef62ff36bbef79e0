package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// systemCall describes a call's arguments, a letter each:
//
//	p  a path                           d  a path that may begin with a slot, "@3:"
//	f  a slot                           i  a user or group id, or -1
//	n  a number                         m  a mode: 0644, S_IFIFO|0600
//	F  flags by their names             D  a device, "1:3"
//	s  a text                           v  a value and its length (see value)
//	b  room for a value                 l  room for names
//	B  room for that many bytes; the number of bytes that it takes is printed
//	S  room for stat's answer           X  the mask and room for statx's
//	r  limits, "3:inf"                  R  room for limits
//	t  times: now, omit, 5:6            h  flags, a mode and flags, for openat2
//	T  room for three ids               G  a list of groups, "1,2" or "-"
//	g  room for groups                  I  room with a number, to be read
//	V  a value as a vector
//
// arguments that are the same each time:
//
//	0  nothing                          @  the working directory
//	A  FS_IOC_SETFLAGS                  c  creat's flags
//	N  AT_SYMLINK_NOFOLLOW              U  AT_REMOVEDIR
//
// and, in front of them, the kind of the result, unless there is none:
//
//	=  a descriptor, for the slot in the line's first word
//	#  a number     %  a mode
type systemCall struct {
	number uintptr
	args   string
}

// callTable lists the calls that every machine has, by name. Where a machine lacks an older
// call, such as chmod, the newer one is made instead.
var callTable = map[string]systemCall{
	"openat": {unix.SYS_OPENAT, "=dFm"}, "openat2": {unix.SYS_OPENAT2, "=dh"},
	"read": {unix.SYS_READ, "fb"}, "pread64": {unix.SYS_PREAD64, "fbn"},
	"write": {unix.SYS_WRITE, "#fv"}, "pwrite64": {unix.SYS_PWRITE64, "#fvn"},
	"lseek": {unix.SYS_LSEEK, "#fnn"}, "dup3": {unix.SYS_DUP3, "ff0"}, "close": {unix.SYS_CLOSE, "f"},
	"truncate": {unix.SYS_TRUNCATE, "pn"}, "ftruncate": {unix.SYS_FTRUNCATE, "fn"},
	"fallocate": {unix.SYS_FALLOCATE, "fnnn"}, "copy_file_range": {unix.SYS_COPY_FILE_RANGE, "#f0f0n0"},
	"fsync": {unix.SYS_FSYNC, "f"}, "sendfile": {unix.SYS_SENDFILE, "#ff0n"},
	"writev": {unix.SYS_WRITEV, "#fV"}, "pwritev": {unix.SYS_PWRITEV, "#fVn0"},

	"fchmod": {unix.SYS_FCHMOD, "fm"}, "fchmodat": {unix.SYS_FCHMODAT, "dm"}, "fchmodat2": {unix.SYS_FCHMODAT2, "dmF"},
	"fchown": {unix.SYS_FCHOWN, "fii"}, "fchownat": {unix.SYS_FCHOWNAT, "diiF"},
	"utimensat": {unix.SYS_UTIMENSAT, "dtF"}, "futimens": {unix.SYS_UTIMENSAT, "f0t0"},

	"setxattr": {unix.SYS_SETXATTR, "psvF"}, "lsetxattr": {unix.SYS_LSETXATTR, "psvF"}, "fsetxattr": {unix.SYS_FSETXATTR, "fsvF"},
	"getxattr": {unix.SYS_GETXATTR, "psb"}, "lgetxattr": {unix.SYS_LGETXATTR, "psb"}, "fgetxattr": {unix.SYS_FGETXATTR, "fsb"},
	"listxattr": {unix.SYS_LISTXATTR, "pl"}, "llistxattr": {unix.SYS_LLISTXATTR, "pl"}, "flistxattr": {unix.SYS_FLISTXATTR, "fl"},
	"roomgetxattr": {unix.SYS_GETXATTR, "psB"}, "roomlistxattr": {unix.SYS_LISTXATTR, "pB"}, "roomreadlinkat": {unix.SYS_READLINKAT, "dB"},
	"removexattr": {unix.SYS_REMOVEXATTR, "ps"}, "lremovexattr": {unix.SYS_LREMOVEXATTR, "ps"}, "fremovexattr": {unix.SYS_FREMOVEXATTR, "fs"},

	"linkat": {unix.SYS_LINKAT, "ddF"}, "symlinkat": {unix.SYS_SYMLINKAT, "pd"}, "readlinkat": {unix.SYS_READLINKAT, "db"},
	"renameat": {unix.SYS_RENAMEAT, "dd"}, "renameat2": {unix.SYS_RENAMEAT2, "ddF"}, "unlinkat": {unix.SYS_UNLINKAT, "dF"},
	"mkdirat": {unix.SYS_MKDIRAT, "dm"}, "mknodat": {unix.SYS_MKNODAT, "dmD"},

	"getuid": {unix.SYS_GETUID, "#"}, "geteuid": {unix.SYS_GETEUID, "#"}, "getgid": {unix.SYS_GETGID, "#"}, "getegid": {unix.SYS_GETEGID, "#"},
	"getresuid": {unix.SYS_GETRESUID, "T"}, "getresgid": {unix.SYS_GETRESGID, "T"}, "getgroups": {unix.SYS_GETGROUPS, "#g"},
	"setuid": {unix.SYS_SETUID, "i"}, "setgid": {unix.SYS_SETGID, "i"}, "setreuid": {unix.SYS_SETREUID, "ii"}, "setregid": {unix.SYS_SETREGID, "ii"},
	"setresuid": {unix.SYS_SETRESUID, "iii"}, "setresgid": {unix.SYS_SETRESGID, "iii"},
	"setfsuid": {unix.SYS_SETFSUID, "#i"}, "setfsgid": {unix.SYS_SETFSGID, "#i"}, "setgroups": {unix.SYS_SETGROUPS, "G"},
	"umask": {unix.SYS_UMASK, "%m"}, "prctl": {unix.SYS_PRCTL, "#nnnnn"},

	"chroot": {unix.SYS_CHROOT, "p"}, "chdir": {unix.SYS_CHDIR, "p"}, "fchdir": {unix.SYS_FCHDIR, "f"},
	"faccessat": {unix.SYS_FACCESSAT, "dn"}, "faccessat2": {unix.SYS_FACCESSAT2, "dnF"},
	"fstat": {unix.SYS_FSTAT, "fS"}, "fstatat": {sysFstatat, "dSF"}, "statx": {unix.SYS_STATX, "dFX"},
	"getrlimit": {unix.SYS_GETRLIMIT, "nR"}, "setrlimit": {unix.SYS_SETRLIMIT, "nr"}, "prlimit64": {unix.SYS_PRLIMIT64, "0nrR"},
	"setflags": {unix.SYS_IOCTL, "fAI"},
}

// lookUp finds a call.
func lookUp(name string) systemCall {
	c, ok := callTable[name]
	if !ok {
		if c, ok = oldCalls[name]; !ok {
			malformed("there is no operation %q", name)
		}
	}
	return c
}

// slots is the descriptor of slot 0.
const slots = 100

func (m *machine) slot(word string) uintptr {
	n, err := strconv.ParseUint(word, 10, 8)
	if err != nil || n >= maxSlots {
		malformed("slot %q: want a number below %d", word, maxSlots)
	}
	return slots + uintptr(n)
}

// call makes an operation's system call, and describes the result.
func (m *machine) call(o op) string {
	c := lookUp(o.words[0])
	e := &encoder{m: m, op: o, words: o.words[1:]}
	kinds := c.args
	result := byte(0)
	if kinds != "" && strings.IndexByte("=#%", kinds[0]) >= 0 {
		result, kinds = kinds[0], kinds[1:]
	}
	target := uintptr(0)
	if result == '=' {
		target = m.slot(e.word())
	}
	for i := range len(kinds) {
		e.argument(kinds[i])
	}
	if len(e.words) > 0 || len(e.args) > 6 {
		malformed("line %d: %q has too many words", o.line, o.words)
	}
	var a [6]uintptr
	copy(a[:], e.args)
	r, _, errno := unix.RawSyscall6(c.number, a[0], a[1], a[2], a[3], a[4], a[5])
	for c.number == unix.SYS_OPENAT2 && errno == unix.EAGAIN { // something else on the machine was renamed meanwhile
		r, _, errno = unix.RawSyscall6(c.number, a[0], a[1], a[2], a[3], a[4], a[5])
	}
	if errno != 0 {
		return outcome(errno)
	}
	said := []string{}
	switch result {
	case '=':
		keepAs(r, target)
	case '#':
		said = append(said, strconv.Itoa(int(r)))
	case '%':
		said = append(said, fmt.Sprintf("%04o", r))
	}
	for _, tell := range e.told {
		said = append(said, tell(int(r)))
	}
	if len(said) == 0 {
		return "OK"
	}
	return strings.Join(said, " ")
}

// keepAs puts a descriptor into a slot.
func keepAs(fd, slot uintptr) {
	if fd == slot {
		return
	}
	_, _, e := unix.RawSyscall(unix.SYS_DUP3, fd, slot, 0)
	if e == 0 {
		_, _, e = unix.RawSyscall(unix.SYS_CLOSE, fd, 0, 0)
	}
	if e != 0 {
		malformed("descriptor %d as %d: %v", fd, slot, e)
	}
}

func outcome(e unix.Errno) string {
	if e == 0 {
		return "OK"
	}
	return unix.ErrnoName(e)
}

// encoder makes a call's arguments from words.
type encoder struct {
	m     *machine
	op    op
	words []string
	args  []uintptr
	told  []func(result int) string
}

func (e *encoder) word() string {
	if len(e.words) == 0 {
		malformed("line %d: %q has too few words", e.op.line, e.op.words)
	}
	w := e.words[0]
	e.words = e.words[1:]
	return w
}

func (e *encoder) add(args ...uintptr) { e.args = append(e.args, args...) }

func (e *encoder) tell(f func(result int) string) { e.told = append(e.told, f) }

func (e *encoder) argument(kind byte) {
	switch kind {
	case 'p':
		e.add(e.m.path(e.word()))
	case 'd':
		e.directoryAndPath(e.word())
	case 'f':
		e.add(e.m.slot(e.word()))
	case 'i':
		e.add(identity(e.word()))
	case 'n':
		e.add(uintptr(integer(e.word())))
	case 'm', 'F':
		e.add(flags(e.word()))
	case 's':
		e.add(pointer(unquote(e.word())))
	case 'v':
		value := e.m.value(e.word())
		e.add(address(value), uintptr(len(value)))
	case 'V':
		value := e.m.value(e.word())
		vector := []uintptr{address(value), uintptr(len(value))}
		e.add(address(vector), 1)
	case 'D':
		e.add(device(e.word()))
	case 'h':
		how := []unix.OpenHow{{Flags: uint64(flags(e.word())), Mode: uint64(flags(e.word())), Resolve: uint64(flags(e.word()))}}
		e.add(address(how), unix.SizeofOpenHow)
	case 'r':
		e.add(address([]unix.Rlimit{limits(e.word())}))
	case 't':
		e.add(times(e.word()))
	case 'G':
		groups := identityList(e.word())
		e.add(uintptr(len(groups)), address(groups))
	case 'A':
		e.add(unix.FS_IOC_SETFLAGS)
	case 'I':
		e.add(address([]int64{integer(e.word())}))
	case '0':
		e.add(0)
	case '@':
		e.add(workingDir)
	case 'c': // creat's
		e.add(unix.O_CREAT | unix.O_WRONLY | unix.O_TRUNC)
	case 'N':
		e.add(unix.AT_SYMLINK_NOFOLLOW)
	case 'U':
		e.add(unix.AT_REMOVEDIR)
	default:
		e.room(kind)
	}
}

const workingDir = ^uintptr(99) // unix.AT_FDCWD

func (e *encoder) directoryAndPath(word string) {
	dir := workingDir
	if rest, ok := strings.CutPrefix(word, "@"); ok {
		slot, path, _ := strings.Cut(rest, ":")
		dir, word = e.m.slot(slot), path
	}
	e.add(dir, e.m.path(word))
}

// path returns the address of a path.
func (m *machine) path(word string) uintptr {
	if word == "!bad" {
		return 1
	}
	return pointer(m.expand(word))
}

// room adds an argument that an answer is written to.
func (e *encoder) room(kind byte) {
	switch kind {
	case 'b':
		buf := make([]byte, 1<<16)
		e.add(address(buf), uintptr(len(buf)))
		e.tell(func(n int) string { return showBytes(buf[:n]) })
	case 'B':
		buf := make([]byte, integer(e.word()))
		e.add(address(buf), uintptr(len(buf)))
		e.tell(func(n int) string { return strconv.Itoa(n) })
	case 'l':
		buf := make([]byte, 1<<16)
		e.add(address(buf), uintptr(len(buf)))
		e.tell(func(n int) string { return showNames(string(buf[:n])) })
	case 'S':
		st := make([]unix.Stat_t, 1)
		e.add(address(st))
		e.tell(func(int) string { return showStat(&st[0]) })
	case 'X':
		st := make([]unix.Statx_t, 1)
		e.add(unix.STATX_BASIC_STATS, address(st))
		e.tell(func(int) string { return showStatx(&st[0]) })
	case 'R':
		limit := make([]unix.Rlimit, 1)
		e.add(address(limit))
		e.tell(func(int) string { return showLimit(limit[0].Cur) + ":" + showLimit(limit[0].Max) })
	case 'T':
		ids := make([]uint32, 3)
		for i := range ids {
			e.add(address(ids[i:]))
		}
		e.tell(func(int) string { return fmt.Sprint(ids) })
	case 'g':
		ids := make([]uint32, 1<<10)
		e.add(uintptr(len(ids)), address(ids))
		e.tell(func(n int) string { return fmt.Sprint(ids[:n]) })
	default:
		malformed("there is no argument of kind %q", kind)
	}
}

// showNames leaves out names that the machine's security modules add.
func showNames(list string) string {
	names := slices.DeleteFunc(strings.Split(list, "\x00"), func(name string) bool {
		return name == "" || strings.HasPrefix(name, "security.") && name != capability
	})
	slices.Sort(names)
	return "[" + strings.Join(names, " ") + "]"
}
