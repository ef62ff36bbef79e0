package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// escape tries to get out of the sandbox, and prints each way that it finds. Its arguments
// are what it must not find: a word that is in names, environments and contents of the
// machine alone, an address and an abstract socket to reach.
func escape(args []string) error {
	e := &escaper{canary: args[0], address: args[1], socket: args[2]}
	e.files()
	e.hidden()
	e.processes()
	e.surroundings()
	e.network()
	e.privileges()
	e.calls()
	e.writes()
	e.settings()
	e.others()
	e.input()
	if e.found > 0 {
		return fmt.Errorf("%d ways out", e.found)
	}
	fmt.Println("no way out")
	return nil
}

type escaper struct {
	canary, address, socket string
	found                   int
}

func (e *escaper) way(format string, args ...any) {
	e.found++
	fmt.Printf("way out: "+format+"\n", args...)
}

// files looks for the canary in the names of files everywhere except in /proc.
func (e *escaper) files() {
	_ = filepath.WalkDir("/", func(name string, d os.DirEntry, err error) error {
		if name == "/proc" {
			return filepath.SkipDir
		}
		if err == nil && strings.Contains(d.Name(), e.canary) {
			e.way("file %s", name)
		}
		return nil
	})
	for _, name := range []string{"/dev/mem", "/dev/kmsg", "/dev/sda", "/dev/vda", "/dev/kvm", "/dev/fuse", "/proc/kmsg",
		"/sys/firmware", "/sys/fs/cgroup/cgroup.procs", "/var/run/docker.sock"} {
		if f, err := os.Open(name); err == nil {
			f.Close()
			if name != "/sys/firmware" {
				e.way("opened %s", name)
			}
		}
	}
}

// hidden looks for something in the files that are covered by an empty one.
func (e *escaper) hidden() {
	for _, name := range []string{"/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug", "/proc/interrupts"} {
		f, err := os.Open(name)
		if err != nil {
			continue
		}
		if n, _ := f.Read(make([]byte, 1)); n > 0 {
			e.way("read %s", name)
		}
		f.Close()
	}
}

// processes looks into all of /proc.
func (e *escaper) processes() {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		for _, link := range []string{"root", "cwd"} {
			names, _ := os.ReadDir(dir + "/" + link)
			for _, n := range names {
				if strings.Contains(n.Name(), e.canary) {
					e.way("%s/%s/%s", dir, link, n.Name())
				}
			}
		}
		for _, name := range []string{"environ", "cmdline"} {
			if text, _ := os.ReadFile(dir + "/" + name); strings.Contains(string(text), e.canary) && dir != fmt.Sprintf("/proc/%d", os.Getpid()) {
				e.way("%s/%s tells the canary", dir, name)
			}
		}
	}
	// The first process has files and memory from the machine.
	for _, name := range []string{"environ", "mem", "maps", "auxv"} {
		if text, err := os.ReadFile("/proc/1/" + name); err == nil && len(text) > 0 {
			e.way("read /proc/1/%s", name)
		}
	}
	for _, name := range []string{"root", "cwd", "exe", "ns/mnt"} {
		if to, err := os.Readlink("/proc/1/" + name); err == nil {
			e.way("/proc/1/%s leads to %s", name, to)
		}
	}
	for fd := range 64 { // their existence may be visible
		if to, err := os.Readlink(fmt.Sprintf("/proc/1/fd/%d", fd)); err == nil {
			e.way("/proc/1/fd/%d leads to %s", fd, to)
		}
		if f, err := os.Open(fmt.Sprintf("/proc/1/fd/%d/.", fd)); err == nil {
			f.Close()
			e.way("opened /proc/1/fd/%d", fd)
		}
	}
	if err := unix.Kill(1, unix.SIGKILL); err == nil {
		time.Sleep(50 * time.Millisecond) // success would end the first process
	}
}

// surroundings checks the environment that the process was started in.
func (e *escaper) surroundings() {
	fds, _ := os.ReadDir("/proc/self/fd")
	for _, fd := range fds {
		to, err := os.Readlink("/proc/self/fd/" + fd.Name())
		// The runtime's own poller, and the directory that is being read.
		if err == nil && !slices.Contains([]string{"0", "1", "2"}, fd.Name()) && !strings.HasPrefix(to, "anon_inode:") && !strings.HasPrefix(to, "/proc/") {
			e.way("open file %s: %s", fd.Name(), to)
		}
	}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "PATH=") && !strings.HasPrefix(v, "SHLVL=") && !strings.HasPrefix(v, "PWD=") && !strings.HasPrefix(v, "OLDPWD=") && !strings.HasPrefix(v, "_=") {
			e.way("environment: %s", v)
		}
	}
	e.renamedLink() // before the emulator knows of links
	for _, list := range []string{"mountinfo", "mounts", "mountstats"} {
		for _, dir := range []string{"/proc/self", "/proc/thread-self", "/proc/1", fmt.Sprintf("/proc/%d/task/%[1]d", os.Getpid())} {
			e.mounts(dir, list)
		}
	}
}

// renamedLink reads a list of mounts through a link that had the usual name at first.
func (e *escaper) renamedLink() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		e.way("a directory for a link: %v", err)
		return
	}
	defer os.RemoveAll(dir)
	mtab, other := filepath.Join(dir, "mtab"), filepath.Join(dir, "other")
	if err := errors.Join(os.Symlink("/proc/self/mountinfo", mtab), os.Rename(mtab, other)); err != nil {
		e.way("a link to a list: %v", err)
	}
	if text, _ := os.ReadFile(other); strings.Contains(string(text), e.canary) {
		e.way("a link that was renamed tells the canary")
	}
}

// mounts reads a list of mounts under all of its names.
func (e *escaper) mounts(dir, list string) {
	tell := func(how string, read func() ([]byte, error)) {
		if text, _ := read(); strings.Contains(string(text), e.canary) {
			e.way("%s/%s, %s, tells the canary", dir, list, how)
		}
	}
	file := dir + "/" + list
	tell("by its name", func() ([]byte, error) { return os.ReadFile(file) })
	tell("by a link", func() ([]byte, error) {
		link := filepath.Join(os.TempDir(), "link")
		if err := os.Symlink(file, link); err != nil {
			return nil, err
		}
		defer os.Remove(link)
		return os.ReadFile(link)
	})
	tell("in its directory", func() ([]byte, error) {
		d, err := os.OpenRoot(dir)
		if err != nil {
			return nil, err
		}
		defer d.Close()
		return d.ReadFile(list)
	})
	tell("looked at first", func() ([]byte, error) {
		fd, err := unix.Open(file, unix.O_PATH, 0)
		if err != nil {
			return nil, err
		}
		defer unix.Close(fd)
		return os.ReadFile(fmt.Sprintf("/proc/self/fd/%d", fd))
	})
}

func (e *escaper) network() {
	interfaces, err := net.Interfaces()
	if err != nil || len(interfaces) != 1 || interfaces[0].Name != "lo" || interfaces[0].Flags&net.FlagUp == 0 {
		e.way("interfaces %v, %v", interfaces, err)
	}
	if c, err := net.DialTimeout("tcp", e.address, time.Second); err == nil {
		c.Close()
		e.way("connected to %s", e.address)
	}
	if c, err := net.Dial("unix", "@"+e.socket); err == nil {
		c.Close()
		e.way("connected to the abstract socket %s", e.socket)
	}
	for _, family := range []int{unix.AF_VSOCK, unix.AF_ALG, unix.AF_PACKET, unix.AF_BLUETOOTH, unix.AF_KEY, unix.AF_XDP} {
		if fd, err := unix.Socket(family, unix.SOCK_RAW, 0); err == nil {
			unix.Close(fd)
			e.way("socket of family %d", family)
		}
	}
	for family := range unix.AF_MAX {
		if fds, err := unix.Socketpair(family, unix.SOCK_DGRAM, 0); err == nil && family != unix.AF_UNIX {
			unix.Close(fds[0])
			unix.Close(fds[1])
			e.way("pair of sockets of family %d", family)
		}
	}
}

// privileges checks what the process has and could get.
func (e *escaper) privileges() {
	if n, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err != nil || n != 1 {
		e.way("no_new_privs is %d, %v", n, err)
	}
	if n, err := unix.PrctlRetInt(unix.PR_GET_SECCOMP, 0, 0, 0, 0); err != nil || n != 2 {
		e.way("seccomp is %d, %v", n, err)
	}
	for _, c := range []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SYS_PTRACE, unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_SYS_MODULE,
		unix.CAP_DAC_READ_SEARCH, unix.CAP_SYS_RAWIO, unix.CAP_SYS_BOOT, unix.CAP_SYS_RESOURCE, unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_SYSLOG} {
		if n, _ := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0); n == 1 {
			e.way("capability %d could be had", c)
		}
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		data[c/32].Permitted, data[c/32].Effective = 1<<(c%32), 1<<(c%32)
		if err := unix.Capset(&header, &data[0]); err == nil {
			e.way("got capability %d", c)
		}
	}
}

// calls makes the system calls that must be refused, with arguments for which they would
// not fail in the same way if they were permitted.
func (e *escaper) calls() {
	for _, c := range forbidden() {
		_, _, errno := unix.RawSyscall6(c.number, c.args[0], c.args[1], c.args[2], c.args[3], c.args[4], c.args[5])
		if !slices.Contains([]unix.Errno{unix.EPERM, unix.ENOSYS, unix.EACCES}, errno) {
			e.way("system call %d (%s): %v", c.number, c.name, errors.Join(errno))
		}
	}
	for _, c := range withoutEffect() {
		if _, _, errno := unix.RawSyscall6(c.number, c.args[0], c.args[1], c.args[2], c.args[3], c.args[4], c.args[5]); errno != c.errno {
			e.way("%s: %v", c.name, errors.Join(errno))
		}
	}
}

// withoutEffect returns calls that fail in a particular way because of their argument.
func withoutEffect() []refusedCall {
	const futexHash, hugeSegment = 78, 0o4000
	text := uintptr(unsafe.Pointer(&[]byte("x\x00")[0]))
	return []refusedCall{
		{forbiddenCall{"TIOCSTI", unix.SYS_IOCTL, [6]uintptr{0, unix.TIOCSTI}}, unix.EPERM},
		{forbiddenCall{"PR_FUTEX_HASH", unix.SYS_PRCTL, [6]uintptr{futexHash, 1, 16}}, unix.EINVAL},
		{forbiddenCall{"MAP_HUGETLB", unix.SYS_MMAP, [6]uintptr{0, 1 << 21, unix.PROT_READ, unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_HUGETLB, ^uintptr(0)}}, unix.ENOMEM},
		{forbiddenCall{"MFD_HUGETLB", unix.SYS_MEMFD_CREATE, [6]uintptr{text, unix.MFD_HUGETLB}}, unix.ENOMEM},
		{forbiddenCall{"SHM_HUGETLB", unix.SYS_SHMGET, [6]uintptr{unix.IPC_PRIVATE, 1 << 21, unix.IPC_CREAT | hugeSegment | 0o600}}, unix.ENOMEM},
		{forbiddenCall{"sendfile", unix.SYS_SENDFILE, [6]uintptr{1, 0, 0, 1}}, unix.EINVAL},
		{forbiddenCall{"splice", unix.SYS_SPLICE, [6]uintptr{0, 0, 1, 0, 1}}, unix.EINVAL},
		{forbiddenCall{"tee", unix.SYS_TEE, [6]uintptr{0, 1, 1}}, unix.EINVAL},
	}
}

type refusedCall struct {
	forbiddenCall
	errno unix.Errno
}

// writes tries to change what is not the step's.
func (e *escaper) writes() {
	for _, name := range []string{"/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sys/vm/drop_caches", "/proc/sysrq-trigger",
		"/proc/1/mem", "/proc/self/uid_map", "/proc/self/gid_map", "/proc/self/setgroups", "/sys/kernel/uevent_helper"} {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			continue
		}
		if _, err = f.WriteString("1\n"); err == nil {
			e.way("wrote to %s", name)
		}
		f.Close()
	}
	if err := os.WriteFile("/sys/x", nil, 0o644); err == nil {
		e.way("made /sys/x")
	}
}

// settings tries to open the machine's settings to change them, and to read files that
// reveal the machine.
func (e *escaper) settings() {
	for _, pattern := range []string{"/proc/sysrq-trigger", "/proc/irq/default_smp_affinity", "/proc/irq/*/smp_affinity", "/proc/bus/pci/*/*", "/proc/fs/*/*",
		"/proc/mtrr", "/proc/sys/kernel/*", "/proc/sys/vm/*", "/proc/sys/fs/*", "/proc/sys/net/ipv4/*", "/proc/sys/user/*"} {
		names, _ := filepath.Glob(pattern)
		for _, name := range names {
			if f, err := os.OpenFile(name, os.O_WRONLY, 0); err == nil {
				f.Close()
				e.way("opened %s for writing", name)
			}
		}
	}
	for _, name := range []string{"/proc/cmdline", "/proc/interrupts", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/sched_debug", "/proc/swaps"} {
		if text, _ := os.ReadFile(name); len(text) > 0 {
			e.way("%s says %.20q", name, text)
		}
	}
	for _, name := range []string{"/proc/acpi", "/proc/scsi", "/proc/asound", "/sys/firmware"} {
		if entries, _ := os.ReadDir(name); len(entries) > 0 {
			e.way("%s has %d files", name, len(entries))
		}
	}
}

// others tries to change how the first process runs, which watches the step.
func (e *escaper) others() {
	threads, _ := filepath.Glob("/proc/1/task/*")
	if len(threads) == 0 {
		e.way("the first process has no threads to try")
	}
	limit, set, zero := unix.Rlimit{Cur: 3, Max: 3}, uint64(1), uint32(0)
	for _, thread := range threads {
		id, _ := strconv.Atoi(filepath.Base(thread))
		pid := uintptr(id)
		for _, c := range []forbiddenCall{
			{"prlimit64", unix.SYS_PRLIMIT64, [6]uintptr{pid, unix.RLIMIT_NOFILE, uintptr(unsafe.Pointer(&limit))}},
			{"sched_setaffinity", unix.SYS_SCHED_SETAFFINITY, [6]uintptr{pid, 8, uintptr(unsafe.Pointer(&set))}},
			{"sched_setscheduler", unix.SYS_SCHED_SETSCHEDULER, [6]uintptr{pid, 5, uintptr(unsafe.Pointer(&zero))}}, // SCHED_IDLE
			{"sched_setparam", unix.SYS_SCHED_SETPARAM, [6]uintptr{pid, uintptr(unsafe.Pointer(&zero))}},
			{"setpriority", unix.SYS_SETPRIORITY, [6]uintptr{unix.PRIO_PROCESS, pid, 19}},
			{"setpriority of a group", unix.SYS_SETPRIORITY, [6]uintptr{unix.PRIO_PGRP, pid, 19}},
			{"ioprio_set", unix.SYS_IOPRIO_SET, [6]uintptr{1, pid, 3 << 13}},
			{"ioprio_set of a group", unix.SYS_IOPRIO_SET, [6]uintptr{2, pid, 3 << 13}},
			{"migrate_pages", unix.SYS_MIGRATE_PAGES, [6]uintptr{pid}},
			{"move_pages", unix.SYS_MOVE_PAGES, [6]uintptr{pid}},
			{"setpriority of a user", unix.SYS_SETPRIORITY, [6]uintptr{unix.PRIO_USER, 0, 19}},
			{"ioprio_set of a user", unix.SYS_IOPRIO_SET, [6]uintptr{3, 0, 3 << 13}},
		} {
			_, _, errno := unix.RawSyscall6(c.number, c.args[0], c.args[1], c.args[2], c.args[3], c.args[4], c.args[5])
			// A thread is not a group.
			if errno != unix.EPERM && !(errno == unix.ESRCH && strings.HasSuffix(c.name, "group") && id != 1) {
				e.way("%s of thread %d of the first process: %v", c.name, id, errno)
			}
		}
	}
	runtime.KeepAlive(&limit)
	// A step may do so with its own processes.
	if err := unix.Prlimit(os.Getpid(), unix.RLIMIT_CPU, &unix.Rlimit{Cur: 1000, Max: unix.RLIM_INFINITY}, nil); err != nil {
		e.way("no limit for itself: %v", err)
	}
	if err := unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), 1); err != nil {
		e.way("no priority for itself: %v", err)
	}
}

// input checks that an empty standard input is the step's own.
func (e *escaper) input() {
	var st unix.Stat_t
	if err := unix.Fstat(0, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
		e.way("standard input is a file of mode %#o, %v", st.Mode, err)
	}
}
