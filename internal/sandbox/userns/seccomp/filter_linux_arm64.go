package seccomp

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_AARCH64

// refusedHere returns more system calls to refuse on this architecture.
func refusedHere() []uint32 { return []uint32{unix.SYS_KEXEC_FILE_LOAD} }
