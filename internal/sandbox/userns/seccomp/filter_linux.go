//go:build amd64 || arm64

package seccomp

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Filter is a program for the kernel's seccomp machine (seccomp(2)), put together rule by
// rule; the first matching rule decides.
type Filter []unix.SockFilter

// The offsets in struct seccomp_data, on a little-endian machine.
const (
	dataNumber = 0
	dataArch   = 4
	dataArgs   = 16
)

func instruction(code uint16, k uint32, jt, jf uint8) unix.SockFilter {
	return unix.SockFilter{Code: code, Jt: jt, Jf: jf, K: k}
}

func (f *Filter) add(code uint16, k uint32, jt, jf uint8) {
	*f = append(*f, instruction(code, k, jt, jf))
}

func (f *Filter) load(offset uint32) { f.add(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, offset, 0, 0) }

func (f *Filter) ret(action uint32) { f.add(unix.BPF_RET|unix.BPF_K, action, 0, 0) }

func errno(e unix.Errno) uint32 { return unix.SECCOMP_RET_ERRNO | uint32(e) }

// On takes action on a system call.
func (f *Filter) On(number, action uint32) {
	f.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, number, 0, 1)
	f.ret(action)
}

// argument loads the low half of an argument, masked, for the next size instructions; for
// other system calls they are skipped.
func (f *Filter) argument(number uint32, arg int, mask uint32, size int) {
	f.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, number, 0, uint8(size+3))
	f.load(uint32(dataArgs + 8*arg))
	f.add(unix.BPF_ALU|unix.BPF_AND|unix.BPF_K, mask, 0, 0)
}

// OnBits takes action on a system call if a bit of mask is set in an argument.
func (f *Filter) OnBits(number uint32, arg int, mask, action uint32) {
	f.onOther(number, arg, mask, action, 0) // no bit is set
}

// OnValues takes action on a system call if an argument, masked, is one of
// values.
func (f *Filter) OnValues(number uint32, arg int, mask, action uint32, values ...uint32) {
	f.argument(number, arg, mask, 2*len(values))
	for _, v := range values {
		f.On(v, action)
	}
	f.load(dataNumber)
}

// onOther takes action on a system call if an argument, masked, is not one of values.
func (f *Filter) onOther(number uint32, arg int, mask, action uint32, values ...uint32) {
	f.argument(number, arg, mask, len(values)+1)
	for i, v := range values {
		f.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, v, uint8(len(values)-i), 0)
	}
	f.ret(action)
	f.load(dataNumber)
}

// New returns the filter that every step runs under, to which rules can be added. Calls
// that it refuses fail as if not permitted; or, where programs have an alternative, as in a
// kernel that does not know the call.
func New() Filter {
	var f Filter
	f.load(dataArch)
	f.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, auditArch, 1, 0)
	f.ret(errno(unix.ENOSYS)) // the system calls of another architecture
	f.load(dataNumber)
	// System calls of later kernels are not known to be harmless. The number -1 stands for
	// no call: a tracer sets it to skip one.
	f.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, ^uint32(0), 1, 0)
	f.add(unix.BPF_JMP|unix.BPF_JGT|unix.BPF_K, lastSyscall, 0, 1)
	f.ret(errno(unix.ENOSYS))
	f.load(dataNumber)
	for _, number := range refused() {
		f.On(number, errno(unix.EPERM))
	}
	for _, number := range unknown() {
		f.On(number, errno(unix.ENOSYS))
	}
	f.OnBits(unix.SYS_CLONE, 0, newNamespaces, errno(unix.EPERM))
	f.onOther(unix.SYS_SOCKET, 0, ^uint32(0), errno(unix.EAFNOSUPPORT), unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK)
	f.onOther(unix.SYS_SOCKETPAIR, 0, ^uint32(0), errno(unix.EAFNOSUPPORT), unix.AF_UNIX)
	// Its effect would be a deletion in a layer.
	f.OnBits(unix.SYS_RENAMEAT2, 4, unix.RENAME_WHITEOUT, errno(unix.EINVAL))
	// These put characters into the input of a terminal that others read.
	f.OnValues(unix.SYS_IOCTL, 1, ^uint32(0), errno(unix.EPERM), unix.TIOCSTI, unix.TIOCLINUX)
	// A process that cannot be dumped could not be looked at by us either, and nobody else
	// can.
	f.OnValues(unix.SYS_PRCTL, 0, ^uint32(0), errno(0), unix.PR_SET_DUMPABLE)
	f.onOther(unix.SYS_PRCTL, 0, ^uint32(0), errno(unix.EINVAL), knownOptions()...)
	// A step gets none of the pages that the machine's root has to set aside.
	f.OnBits(unix.SYS_MMAP, 3, unix.MAP_HUGETLB, errno(unix.ENOMEM))
	f.OnBits(unix.SYS_MEMFD_CREATE, 1, unix.MFD_HUGETLB, errno(unix.ENOMEM))
	f.OnBits(unix.SYS_SHMGET, 2, shmHuge, errno(unix.ENOMEM))
	for _, number := range byReference() {
		f.On(number, errno(unix.EINVAL))
	}
	return f
}

// shmHuge is SHM_HUGETLB (linux/shm.h).
const shmHuge = 0o4000

// knownOptions returns the options of prctl(2) whose cost for the kernel is known: all up
// to PR_TIMER_CREATE_RESTORE_IDS, and two with numbers of their own. Later ones are
// unknown, as in an older kernel.
func knownOptions() []uint32 {
	options := []uint32{unix.PR_SET_VMA, unix.PR_SET_PTRACER}
	for option := range uint32(unix.PR_TIMER_CREATE_RESTORE_IDS + 1) {
		options = append(options, option)
	}
	return options
}

// byReference returns the system calls that hand on pages of files instead of bytes: a pipe
// or socket can keep a page, or several, for each byte, and nothing reports it. They fail
// as on files that have no such pages, and programs then copy.
func byReference() []uint32 { return []uint32{unix.SYS_SENDFILE, unix.SYS_SPLICE, unix.SYS_TEE} }

const newNamespaces = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC |
	unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWNET | unix.CLONE_NEWTIME

// lastSyscall is the last one that was known when the lists below were made.
const lastSyscall = unix.SYS_RSEQ_SLICE_YIELD

// refused returns the system calls that reach out of the sandbox, or by which kernels have
// been attacked.
func refused() []uint32 {
	return append([]uint32{
		// Mounts and namespaces.
		unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_MOVE_MOUNT, unix.SYS_OPEN_TREE, unix.SYS_OPEN_TREE_ATTR,
		unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK, unix.SYS_MOUNT_SETATTR,
		unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_LISTNS, unix.SYS_QUOTACTL, unix.SYS_QUOTACTL_FD,
		unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_NAME_TO_HANDLE_AT,
		// Other processes.
		unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PROCESS_MADVISE,
		unix.SYS_KCMP, unix.SYS_PIDFD_GETFD,
		// The kernel and what it keeps for others.
		unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_KEYCTL, unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD,
		unix.SYS_FANOTIFY_INIT, unix.SYS_KEXEC_LOAD, unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE,
		unix.SYS_REBOOT, unix.SYS_ACCT, unix.SYS_SYSLOG, unix.SYS_VHANGUP, unix.SYS_NFSSERVCTL, unix.SYS_LOOKUP_DCOOKIE,
		unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_CLOCK_ADJTIME, unix.SYS_ADJTIMEX,
		unix.SYS_SETHOSTNAME, unix.SYS_SETDOMAINNAME,
	}, refusedHere()...)
}

// unknown returns the system calls that the kernel seems not to have.
func unknown() []uint32 {
	return []uint32{
		// Its flags are in memory, where filters cannot see them: the C library has clone.
		unix.SYS_CLONE3,
		// Older calls do the same, and emulators know them.
		unix.SYS_SETXATTRAT, unix.SYS_GETXATTRAT, unix.SYS_LISTXATTRAT, unix.SYS_REMOVEXATTRAT,
		unix.SYS_LANDLOCK_CREATE_RULESET, unix.SYS_LANDLOCK_ADD_RULE, unix.SYS_LANDLOCK_RESTRICT_SELF, // no limit counts rules
		unix.SYS_STATMOUNT, unix.SYS_LISTMOUNT, // they tell where the machine's files are
		unix.SYS_MEMFD_SECRET, unix.SYS_IO_SETUP, unix.SYS_VMSPLICE, // no limit counts what they make, or keep
		unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
	}
}

// Install puts the calling thread and everything it starts under the filter, which allows
// calls that no rule is about; with listen it returns a descriptor that delivers the calls
// to be looked at.
func (f Filter) Install(listen bool) (int, error) {
	flags := uintptr(0)
	if listen {
		// Only a signal that ends the caller may interrupt its waiting: otherwise the call
		// would be repeated after it was done.
		flags |= unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
	}
	f.ret(unix.SECCOMP_RET_ALLOW)
	program := unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}
	fd, _, e := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&program)))
	runtime.KeepAlive(f)
	if e != 0 {
		return -1, e
	}
	return int(fd), nil
}
