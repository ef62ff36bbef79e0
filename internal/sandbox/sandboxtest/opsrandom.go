package sandboxtest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"strings"
)

// RandomOps makes programs from any bytes: the first from the bytes themselves, the others
// from a generator that is seeded with them. There are few names, so that programs come
// back to what they have done; the programs never lead out of their tree, never wait, and
// do not differ from one machine to another.
func RandomOps(data []byte, n int) []*OpsProgram {
	programs := make([]*OpsProgram, n)
	r := rand.NewChaCha8(sha256.Sum256(data))
	for i := range programs {
		programs[i] = &OpsProgram{Name: fmt.Sprintf("p%d", i), Text: randomOps(data)}
		data = make([]byte, bytesPerOp*maxOps)
		_, _ = r.Read(data) // it never fails
	}
	return programs
}

const (
	// bytesPerOp is one byte to choose the operation, and the others for its words.
	bytesPerOp = 8
	maxOps     = 24
)

// randomOps makes a program from bytes.
func randomOps(data []byte) string {
	var b strings.Builder
	b.WriteString("openat 3 . O_RDONLY 0\n")
	depth := 0
	for n := 0; len(data) > 0 && n < maxOps; n++ {
		record := make([]byte, bytesPerOp)
		data = data[copy(record, data):]
		line := opTemplates[int(record[0])%len(opTemplates)]
		switch {
		// A program started by a process that is not root with files is root again, and
		// returns what it has opened.
		case line == "}" && depth == 0, strings.HasSuffix(line, "{") && (depth == 2 || strings.Contains(b.String(), "setfsuid")):
			continue
		case line == "}":
			depth--
		case strings.HasSuffix(line, "{"):
			depth++
		}
		b.WriteString(fillTemplate(line, record[1:]) + "\n")
	}
	b.WriteString(strings.Repeat("}\n", depth))
	return b.String()
}

// fillTemplate puts words into the places of a template, a byte for each.
func fillTemplate(line string, choice []byte) string {
	var b bytes.Buffer
	for i := 0; i < len(line); i++ {
		if line[i] != '$' {
			b.WriteByte(line[i])
			continue
		}
		i++
		words := opWords[line[i]]
		b.WriteString(words[int(choice[0])%len(words)])
		choice = append(choice[1:], choice[0]+1)
	}
	return b.String()
}

// opWords are the words that a letter stands for. Opening never waits. Devices have names
// of their own, which are never opened: a sandbox's devices differ in no other way.
var opWords = map[byte][]string{
	// Paths, prefixes for them, and prefixes for those that a directory may be given for.
	'P': {"a", "b", "d", "d/a", "d/b", "a", "b", "d", "d/a", "lowf", "low", "low/f", "su", "sg", "cap", "app", "attr", "sgd", "sgd/a", "sgd/b",
		"priv/f", "link", "dangling", "made", "low/sub/g", "l", "."},
	'F': {"", "", "", "", "", "./", "%./", "/proc/self/cwd/", "/proc/self/fd/%3/", "low/../"},
	'G': {"", "", "", "@3:", "@3:", "./", "%./", "/proc/thread-self/cwd/", "/proc/self/fd/%3/", "@3:low/../"},
	'N': {"null", "n", "d/n", "sgd/n"},
	'T': {"a", "b", "d", "d/a", "made", "../b", "low", "su"},

	'S': {"4", "4", "4", "5", "6"},
	'O': {"O_RDONLY", "O_WRONLY", "O_RDWR", "O_WRONLY|O_TRUNC", "O_WRONLY|O_APPEND", "O_CREAT|O_WRONLY", "O_CREAT|O_RDWR", "O_CREAT|O_RDWR|O_TRUNC",
		"O_CREAT|O_EXCL|O_RDWR", "O_CREAT|O_RDONLY", "O_PATH", "O_PATH|O_NOFOLLOW", "O_DIRECTORY", "O_RDWR|O_NOFOLLOW"},
	// For a link of /proc, which must not be opened itself.
	'o': {"O_RDONLY", "O_WRONLY", "O_RDWR", "O_RDWR|O_TRUNC", "O_WRONLY|O_APPEND", "O_PATH"},
	'R': {"0", "RESOLVE_BENEATH", "RESOLVE_IN_ROOT", "RESOLVE_NO_SYMLINKS", "RESOLVE_NO_MAGICLINKS", "RESOLVE_NO_XDEV"},
	'M': {"0644", "0755", "0777", "04755", "02755", "06755", "02644", "0600", "0000", "0666", "02775", "0700", "06777"},
	'I': {"0", "5", "7", "7", "8", "-1", "65534", "65535", "100000", "1000660000", "3000000000", "4294967294"},
	'W': {`"x"`, `"longer text"`, `""`},
	'L': {"0", "1", "3", "4", "100"},

	'A': {"user.a", "user.a", "user.b", "user.varve.device", "user.overlay.opaque", "trusted.a", "security.capability", "system.posix_acl_access"},
	'V': {`"v"`, `""`, `"b 8 0"`, `"y"`},
	'K': {"cap2", "cap2e", "cap3:0", "cap3e:0", "cap3:5", "cap1", "hex:00"},
	'C': {"acl:u:rwx,g:rx,o:-", "acl:u:rw,u7:rwx,g:r,m:rwx,o:r", "acl:u:rw,u7:-,g:rw,m:rw,o:rw", "acl:u:rw,g:-,g8:rwx,m:rx,o:-",
		"acl:u:rwx,u4294967294:r,g:rwx,m:r,o:x", "acl:u:rw,g:r", "hex:02000000"},
	'X': {"0", "0", "XATTR_CREATE", "XATTR_REPLACE"},

	'U': {"7", "7", "8", "7:8", "8:8:7", "5:6", "4294967294", "7:7:8,9"},
	'Y': {"S_IFIFO", "S_IFREG", "S_IFSOCK"},
	'D': {"1:3", "8:0", "5:1", "4095:1048575"},
	'E': {"S_IFCHR", "S_IFBLK"},
	'Q': {"0", "RENAME_NOREPLACE", "RENAME_EXCHANGE"},
	'H': {"0", "AT_SYMLINK_FOLLOW"},
	'B': {"0", "AT_REMOVEDIR"},
	'Z': {"now", "5:6", "setnow:omit"},
	'u': {"0", "022", "027", "077"},
	'g': {"-", "7", "8,9"},
	'w': {"0", "4", "2", "1", "6"},
}

// opTemplates are the operations. A letter after a $ is a key of opWords.
var opTemplates = []string{
	"openat $S $G$P O_NONBLOCK|$O $M", "openat $S $G$P O_NONBLOCK|$O $M", "openat $S $G$P O_NONBLOCK|$O $M", "openat $S $G$P O_NONBLOCK|$O $M",
	"open $S $F$P O_NONBLOCK|$O $M", "open $S $F$P O_NONBLOCK|O_CREAT|O_RDWR $M", "open $S $F$P O_NONBLOCK|O_CREAT|O_RDWR $M",
	"openat2 $S $G$P O_NONBLOCK|O_CREAT|O_RDWR 0644 $R", "openat2 $S $G$P O_NONBLOCK|O_RDWR 0 $R",
	"openat $S $G$P O_TMPFILE|O_RDWR $M", "openat $S . O_TMPFILE|O_RDWR $M", "openat $S /proc/self/fd/%$S O_NONBLOCK|$o 0",
	"linkat /proc/self/fd/%$S $G$P AT_SYMLINK_FOLLOW", "linkat /proc/self/fd/%$S $F$N AT_SYMLINK_FOLLOW", // by the descriptor itself only the process that opened it may, and that is not known

	"write $S $W", "write $S $W", "pwrite64 $S $W $L", "writev $S $W", "map $S $W", "ftruncate $S $L", "truncate $F$P $L", "truncate $F$P $L",
	"fallocate $S 0 0 $L", "copy_file_range $S $S $L", "close $S", "dup3 $S 6",

	"chmod $F$P $M", "chmod $F$P $M", "chmod $F$P $M", "fchmod $S $M", "fchmodat $G$P $M", "fchmodat2 $G$P $M 0", "chmod /proc/self/fd/%$S $M",
	"chmod . 0777", "chmod sgd 02777", "chmod $F$N $M",
	"chown $F$P $I $I", "chown $F$P $I $I", "chown $F$P $I $I", "lchown $F$P $I $I", "fchown $S $I $I", "fchownat $G$P $I $I AT_SYMLINK_NOFOLLOW",
	"fchownat @$S: $I $I AT_EMPTY_PATH", "chown /proc/self/fd/%$S $I $I", "chown $F$N $I $I",

	"setxattr $F$P security.capability $K $X", "setxattr $F$P security.capability $K 0", "fsetxattr $S security.capability $K 0",
	"setxattr $F$P $A $V $X", "lsetxattr $F$P user.a $V 0", "fsetxattr $S $A $V $X", "setxattr /proc/self/fd/%$S user.b $V 0", "setxattr $F$N $A $V 0",
	"setxattr $F$P system.posix_acl_access $C $X", "fsetxattr $S system.posix_acl_access $C 0", "setxattr $F$P system.posix_acl_default $C 0",
	"removexattr $F$P $A", "fremovexattr $S $A", "lremovexattr $F$P $A",

	"link $F$P $F$P", "linkat $G$P $G$P $H", "link $F$N $F$N", "symlink $T $F$P", "symlinkat $T $G$P",
	"rename $F$P $F$P", "rename $F$P $F$P", "renameat $G$P $G$P", "renameat2 $G$P $G$P $Q", "renameat2 $G$P $G$P $Q", "rename $F$N $F$N", "renameat2 $G$N $G$N $Q",
	"unlink $F$P", "unlink $F$P", "unlinkat $G$P $B", "rmdir $F$P", "unlink $F$N", "unlinkat @3:$P 0",
	"mkdir $F$P $M", "mkdir d $M", "mkdirat $G$P $M", "mknod $F$P $Y|$M 0:0", "mknodat $G$P S_IFREG|$M 0:0", "mknod $F$N $E|$M $D", "mknodat $G$N $E|$M $D", "bind $P",

	"as $U {", "as $U {", "as $U {", "as $U {", "as 7 {", "fork {", "}", "}", "}",
	"setresuid -1 $I -1", "setresuid $I $I $I", "setresuid 0 0 0", "setuid $I", "setgid $I", "setresgid -1 $I -1", "setfsuid $I", "setfsgid $I", "setreuid $I $I",
	"setregid $I $I", "setgroups $g", "getresuid", "getresgid", "getgroups", "umask $u", "setrlimit 10 $L:inf", "getrlimit 10",
	"chdir $F$P", "fchdir 3", "fchdir $S", "chroot .",

	"stat $F$P", "lstat $F$P", "fstat $S", "statx $G$P 0", "stat $F$N", "stat /proc/self/fd/%$S", "access $F$P $w", "faccessat2 $G$P $w AT_EACCESS",
	"getxattr $F$P $A", "fgetxattr $S $A", "listxattr $F$P", "readlink $F$P", "utimensat $F$P $Z 0", "read $S", "exec $F$P",
}
