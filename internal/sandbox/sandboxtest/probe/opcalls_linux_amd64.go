package main

import "golang.org/x/sys/unix"

const sysFstatat = unix.SYS_NEWFSTATAT

// oldCalls are the calls that only older architectures have.
var oldCalls = map[string]systemCall{
	"open": {unix.SYS_OPEN, "=pFm"}, "creat": {unix.SYS_CREAT, "=pm"}, "dup2": {unix.SYS_DUP2, "ff"},
	"chmod": {unix.SYS_CHMOD, "pm"}, "chown": {unix.SYS_CHOWN, "pii"}, "lchown": {unix.SYS_LCHOWN, "pii"},
	"link": {unix.SYS_LINK, "pp"}, "symlink": {unix.SYS_SYMLINK, "pp"}, "readlink": {unix.SYS_READLINK, "pb"},
	"rename": {unix.SYS_RENAME, "pp"}, "unlink": {unix.SYS_UNLINK, "p"}, "rmdir": {unix.SYS_RMDIR, "p"},
	"mkdir": {unix.SYS_MKDIR, "pm"}, "mknod": {unix.SYS_MKNOD, "pmD"}, "access": {unix.SYS_ACCESS, "pn"},
	"stat": {unix.SYS_STAT, "pS"}, "lstat": {unix.SYS_LSTAT, "pS"}, "utime": {unix.SYS_UTIME, "p0"}, "utimes": {unix.SYS_UTIMES, "p0"},
	"futimesat": {unix.SYS_FUTIMESAT, "d0"},
}
