package main

import "golang.org/x/sys/unix"

const sysFstatat = unix.SYS_FSTATAT

// oldCalls are made with the newer calls that this architecture has instead.
var oldCalls = map[string]systemCall{
	"open": {unix.SYS_OPENAT, "=@pFm"}, "creat": {unix.SYS_OPENAT, "=@pcm"}, "dup2": {unix.SYS_DUP3, "ff0"},
	"chmod": {unix.SYS_FCHMODAT, "@pm"}, "chown": {unix.SYS_FCHOWNAT, "@pii0"}, "lchown": {unix.SYS_FCHOWNAT, "@piiN"},
	"link": {unix.SYS_LINKAT, "@p@p0"}, "symlink": {unix.SYS_SYMLINKAT, "p@p"}, "readlink": {unix.SYS_READLINKAT, "@pb"},
	"rename": {unix.SYS_RENAMEAT, "@p@p"}, "unlink": {unix.SYS_UNLINKAT, "@p0"}, "rmdir": {unix.SYS_UNLINKAT, "@pU"},
	"mkdir": {unix.SYS_MKDIRAT, "@pm"}, "mknod": {unix.SYS_MKNODAT, "@pmD"}, "access": {unix.SYS_FACCESSAT, "@pn"},
	"stat": {unix.SYS_FSTATAT, "@pS0"}, "lstat": {unix.SYS_FSTATAT, "@pSN"}, "utime": {unix.SYS_UTIMENSAT, "@p00"}, "utimes": {unix.SYS_UTIMENSAT, "@p00"},
	"futimesat": {unix.SYS_UTIMENSAT, "d00"},
}
