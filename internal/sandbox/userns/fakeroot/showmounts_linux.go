//go:build amd64 || arm64

package fakeroot

import (
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox/userns/openat"
)

// The texts of /proc about mounts reveal where on the machine the tree and other files are.
// A step sees them without that: only where a mount is in the sandbox, and its kind.

// mountLists returns the files of /proc with these texts, and the link to one that many
// images have.
func mountLists() []string { return []string{"mountinfo", "mounts", "mountstats", "mtab"} }

func isMountList(name string) bool {
	for _, list := range mountLists() {
		if path.Base(name) == list {
			return true
		}
	}
	return false
}

// knownLinks says which symlinks lead to files of /proc under other names.
type knownLinks struct {
	mounts bool // to lists of mounts
	proc   bool // to anything
}

// note notes a symlink.
func (k *knownLinks) note(name, target string) {
	k.mounts = k.mounts || isMountList(target) && !isMountList(name)
	k.proc = k.proc || strings.Contains(target, "proc")
}

// moved notes that a file has got another name. A file named by a descriptor may be
// anything.
func (k *knownLinks) moved(old, name string) {
	k.mounts = k.mounts || (isMountList(old) || old == "" || strings.Contains(old, "/fd/")) && !isMountList(name)
}

// namingCalls makes the calls that name files note the names, before they do anything else.
func (e *Emulator) namingCalls() {
	names := oldNamingCalls()
	for _, number := range []uint32{unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_LINKAT} {
		names[number] = [2]int{1, 3}
	}
	for number, at := range names {
		then := e.calls[number]
		e.calls[number] = func(c *call) answer {
			old, err := c.text(at[0])
			name, nameErr := c.text(at[1])
			if err == nil && nameErr == nil {
				e.links.moved(old, name)
			}
			if then == nil {
				return pass
			}
			return then(c)
		}
	}
}

// mayLeadToProc reports whether a path may belong to a process in /proc.
func (e *Emulator) mayLeadToProc(name string) bool {
	return e.links.proc || strings.Contains(name, "self") || strings.Contains(name, "proc") || strings.HasPrefix(name, "/dev/")
}

// mayShowMounts reports whether a path has to be checked.
func (e *Emulator) mayShowMounts(name string) bool { return e.links.mounts || isMountList(name) }

// showMounts answers a call that opens such a file.
func (e *Emulator) showMounts(o *opening) (a answer, shown bool) {
	f, err := o.c.find(o.dirfd, o.name, 0)
	if err != nil {
		return answer{}, false
	}
	defer f.close()
	var fs unix.Statfs_t
	name, err := os.Readlink(openat.Path(f.fd))
	if err != nil || unix.Fstatfs(f.fd, &fs) != nil || fs.Type != unix.PROC_SUPER_MAGIC || !isMountList(name) {
		return answer{}, false
	}
	if o.c.traced || o.writes() || o.has(unix.O_PATH) { // a tracer cannot show another file
		return fails(unix.EACCES), true
	}
	fd, err := mountsShown(f.fd, path.Base(name))
	if err != nil {
		return fails(err), true
	}
	return answer{file: &newFile{fd, o.has(unix.O_CLOEXEC)}}, true
}

// maxMounts limits such a file, in bytes.
const maxMounts = 8 << 20

// mountsShown makes a file with what a step is to see of another.
func mountsShown(fd int, name string) (int, error) {
	f, err := os.Open(openat.Path(fd))
	if err != nil {
		return -1, unix.EACCES
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxMounts))
	if err != nil {
		return -1, unix.EIO
	}
	shown, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(shown)
	for line := range strings.Lines(string(text)) {
		if _, err := unix.Write(shown, []byte(shownMount(name, line))); err != nil {
			return -1, err
		}
	}
	return unix.Open(openat.Path(shown), unix.O_RDONLY|unix.O_CLOEXEC, 0) // at its beginning
}

// shownMount returns a line of such a file without what is the machine's.
func shownMount(name, line string) string {
	fields := strings.Fields(line)
	switch {
	case name == "mountinfo" && len(fields) > 9:
		// proc_pid_mountinfo(5): the fourth field is the part of the file system that is
		// mounted; after a dash come the kind, the source and the options.
		fields[3] = "/"
		if kind := fields[len(fields)-3]; fields[len(fields)-4] == "-" {
			fields[len(fields)-2] = kind
			fields[len(fields)-1] = shownOptions(fields[len(fields)-1])
		}
	case name == "mounts" && len(fields) == 6:
		fields[0], fields[3] = fields[2], shownOptions(fields[3])
	case name == "mountstats" && len(fields) > 7:
		fields = []string{"device", fields[7], "mounted", "on", fields[4], "with", "fstype", fields[7]}
	default:
		return ""
	}
	return fmt.Sprintln(strings.Join(fields, " "))
}

// shownOptions leaves out options that name files.
func shownOptions(options string) string {
	var shown []string
	for option := range strings.SplitSeq(options, ",") {
		if !strings.Contains(option, "/") {
			shown = append(shown, option)
		}
	}
	return strings.Join(shown, ",")
}
