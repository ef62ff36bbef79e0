package main

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// forbiddenCall is a system call that no step may make.
type forbiddenCall struct {
	name   string
	number uintptr
	args   [6]uintptr
}

func text(s string) uintptr {
	p, err := unix.BytePtrFromString(s)
	if err != nil {
		panic(err)
	}
	keep = append(keep, p)
	return uintptr(unsafe.Pointer(p))
}

// keep holds what the calls point to, for the garbage collector.
var keep []*byte

func forbidden() []forbiddenCall {
	root, none, proc, tmp := text("/"), text("none"), text("proc"), text("/tmp")
	here := ^uintptr(99) // AT_FDCWD
	calls := []forbiddenCall{
		{"mount", unix.SYS_MOUNT, [6]uintptr{none, tmp, text("tmpfs")}},
		{"remount", unix.SYS_MOUNT, [6]uintptr{none, root, 0, unix.MS_REMOUNT | unix.MS_BIND}},
		{"umount2", unix.SYS_UMOUNT2, [6]uintptr{text("/proc"), unix.MNT_DETACH}},
		{"pivot_root", unix.SYS_PIVOT_ROOT, [6]uintptr{root, root}},
		{"fsopen", unix.SYS_FSOPEN, [6]uintptr{proc}},
		{"fsconfig", unix.SYS_FSCONFIG, [6]uintptr{0, unix.FSCONFIG_CMD_CREATE}},
		{"fsmount", unix.SYS_FSMOUNT, [6]uintptr{0}},
		{"fspick", unix.SYS_FSPICK, [6]uintptr{here, root}},
		{"open_tree", unix.SYS_OPEN_TREE, [6]uintptr{here, root, unix.OPEN_TREE_CLONE}},
		{"move_mount", unix.SYS_MOVE_MOUNT, [6]uintptr{here, root, here, tmp}},
		{"statmount", unix.SYS_STATMOUNT, [6]uintptr{0, 0, 0, 0}},
		{"listmount", unix.SYS_LISTMOUNT, [6]uintptr{0, 0, 0, 0}},
		{"mount_setattr", unix.SYS_MOUNT_SETATTR, [6]uintptr{here, root}},
		{"setns", unix.SYS_SETNS, [6]uintptr{0, 0}},
		{"clone3", unix.SYS_CLONE3, [6]uintptr{0, 0}},
		{"ptrace", unix.SYS_PTRACE, [6]uintptr{unix.PTRACE_ATTACH, 1}},
		{"traceme", unix.SYS_PTRACE, [6]uintptr{unix.PTRACE_TRACEME}},
		{"process_vm_readv", unix.SYS_PROCESS_VM_READV, [6]uintptr{1}},
		{"process_vm_writev", unix.SYS_PROCESS_VM_WRITEV, [6]uintptr{1}},
		{"pidfd_getfd", unix.SYS_PIDFD_GETFD, [6]uintptr{0, 0}},
		{"kcmp", unix.SYS_KCMP, [6]uintptr{1, 1}},
		{"add_key", unix.SYS_ADD_KEY, [6]uintptr{text("user"), none, root, 1, ^uintptr(2)}},
		{"request_key", unix.SYS_REQUEST_KEY, [6]uintptr{text("user"), none}},
		{"keyctl", unix.SYS_KEYCTL, [6]uintptr{unix.KEYCTL_GET_KEYRING_ID, ^uintptr(3), 1}},
		{"bpf", unix.SYS_BPF, [6]uintptr{0}},
		{"perf_event_open", unix.SYS_PERF_EVENT_OPEN, [6]uintptr{0}},
		{"userfaultfd", unix.SYS_USERFAULTFD, [6]uintptr{unix.O_CLOEXEC | 1}},
		{"io_uring_setup", unix.SYS_IO_URING_SETUP, [6]uintptr{1}},
		{"fanotify_init", unix.SYS_FANOTIFY_INIT, [6]uintptr{0x200}},
		{"open_by_handle_at", unix.SYS_OPEN_BY_HANDLE_AT, [6]uintptr{here}},
		{"kexec_load", unix.SYS_KEXEC_LOAD, [6]uintptr{}},
		{"init_module", unix.SYS_INIT_MODULE, [6]uintptr{}},
		{"finit_module", unix.SYS_FINIT_MODULE, [6]uintptr{}},
		{"delete_module", unix.SYS_DELETE_MODULE, [6]uintptr{none}},
		{"swapon", unix.SYS_SWAPON, [6]uintptr{tmp}},
		{"acct", unix.SYS_ACCT, [6]uintptr{0}},
		{"quotactl", unix.SYS_QUOTACTL, [6]uintptr{0x800001 << 8, none}},
		{"syslog", unix.SYS_SYSLOG, [6]uintptr{3, root, 1}},
		{"reboot", unix.SYS_REBOOT, [6]uintptr{0xfee1dead, 672274793, 0}},
		{"settimeofday", unix.SYS_SETTIMEOFDAY, [6]uintptr{0, 0}},
		{"clock_settime", unix.SYS_CLOCK_SETTIME, [6]uintptr{0, 0}},
		{"sethostname", unix.SYS_SETHOSTNAME, [6]uintptr{none, 4}},
		{"one that there is not", 900, [6]uintptr{}},
	}
	for _, ns := range []uintptr{unix.CLONE_NEWUSER, unix.CLONE_NEWNS, unix.CLONE_NEWPID, unix.CLONE_NEWNET, unix.CLONE_NEWIPC, unix.CLONE_NEWUTS,
		unix.CLONE_NEWCGROUP, unix.CLONE_NEWTIME} {
		calls = append(calls, forbiddenCall{"unshare", unix.SYS_UNSHARE, [6]uintptr{ns}})
		// A flag that is refused before anything is made: CLONE_SIGHAND without CLONE_VM.
		calls = append(calls, forbiddenCall{"clone", unix.SYS_CLONE, [6]uintptr{ns | unix.CLONE_SIGHAND}})
	}
	return calls
}
