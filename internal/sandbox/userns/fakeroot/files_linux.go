//go:build amd64 || arm64

package fakeroot

import (
	"errors"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// file is a file that a call is about.
type file struct {
	fd    int // O_PATH
	key   key
	mount uint64
	mode  uint32 // on disk
	nlink uint32
	// ours says that the file is in a file system whose owners are the emulator's;
	// elsewhere rec is what is on disk.
	ours bool
	rec  record
}

func (f *file) close() { unix.Close(f.fd) }

func (f *file) kind() uint32 { return f.mode & unix.S_IFMT }

func (f *file) dir() bool { return f.kind() == unix.S_IFDIR }

func (f *file) regular() bool { return f.kind() == unix.S_IFREG && f.rec.kind == 0 }

// touch marks the file as changed by the step, and changes nothing else.
func (f *file) touch() error {
	return unix.Fchownat(f.fd, "", os.Getuid(), os.Getgid(), unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW)
}

// newFileOf looks at an open file, which it takes over.
func (e *Emulator) newFileOf(fd int) (*file, error) {
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS|unix.STATX_MNT_ID, &st); err != nil {
		unix.Close(fd)
		return nil, err
	}
	f := &file{fd: fd, key: keyOf(&st), mount: st.Mnt_id, mode: uint32(st.Mode), nlink: st.Nlink, ours: e.mounts[st.Mnt_id]}
	if f.ours {
		f.rec, _ = e.records.get(fd, f.key)
	} else {
		f.rec = record{uid: st.Uid, gid: st.Gid}
	}
	return f, nil
}

func keyOf(st *unix.Statx_t) key {
	return key{unix.Mkdev(st.Dev_major, st.Dev_minor), st.Ino}
}

// errDenied says that a path leads through a directory that the caller may not enter.
var errDenied = errors.New("the caller may not go there")

// find finds the file that a path of the caller's leads to, or with AT_SYMLINK_NOFOLLOW the
// symlink that is its last part.
//
// It is resolved as the caller would: from the caller's root and working
// directory, with what the caller may enter.
func (c *call) find(dirfd int, name string, flags int) (f *file, err error) {
	follow := flags&unix.AT_SYMLINK_NOFOLLOW == 0
	switch {
	case name != "":
		f, err = c.lookUp(dirfd, name, follow)
	case flags&unix.AT_EMPTY_PATH != 0:
		f, err = c.openAt(dirfd)
	default:
		err = unix.ENOENT
	}
	if err == nil && c.gone() {
		f.close()
		return nil, unix.ESRCH
	}
	return f, err
}

func (c *call) lookUp(dirfd int, name string, follow bool) (*file, error) {
	if who := c.who(); who.overrides() && !c.e.chrooted.Load() {
		f, err := c.quickly(dirfd, name, follow)
		if err == nil || err != unix.ELOOP && !c.e.mayLeadToProc(name) {
			return f, err
		}
	}
	p, err := c.walk(dirfd, name, follow, 0)
	if err != nil {
		return nil, err
	}
	p.dir.close()
	if p.file == nil {
		return nil, unix.ENOENT
	}
	return p.file, nil
}

// lost answers a call whose path leads nowhere: the kernel finds the same error, except
// where the caller may not enter a directory.
func (c *call) lost(err error) answer {
	if err == errDenied {
		return fails(unix.EACCES)
	}
	c.unresolved = err
	return pass
}

// on answers a call about a file of ours.
func (c *call) on(dirfd int, name string, flags int, do func(*file) answer) answer {
	f, err := c.find(dirfd, name, flags)
	if err != nil {
		return c.lost(err)
	}
	defer f.close()
	if !f.ours {
		return pass
	}
	return do(f)
}

// openAt opens the caller's open file, or its working directory, to look at.
func (c *call) openAt(dirfd int) (*file, error) {
	f, err := c.openPath(c.at(dirfd))
	if err == unix.ENOENT {
		err = unix.EBADF
	}
	return f, err
}

// at returns the name of the caller's open file, or of its working directory.
func (c *call) at(dirfd int) string {
	if dirfd == unix.AT_FDCWD {
		return c.proc("cwd")
	}
	return c.proc("fd/" + strconv.Itoa(dirfd))
}

// quickly has the kernel resolve a path for a caller that may go anywhere. It fails for
// links of /proc that lead to what a process has: we would resolve them to our own. If we
// do not have such a file the error is a different one.
func (c *call) quickly(dirfd int, name string, follow bool) (*file, error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_MAGICLINKS}
	if !follow {
		how.Flags |= unix.O_NOFOLLOW
	}
	at := unix.AT_FDCWD
	if !path.IsAbs(name) {
		var err error
		if at, err = unix.Open(c.at(dirfd), unix.O_PATH|unix.O_CLOEXEC, 0); err != nil {
			return nil, err
		}
		defer unix.Close(at)
	}
	fd, err := unix.Openat2(at, name, &how)
	if err != nil {
		return nil, err
	}
	return c.e.newFileOf(fd)
}

// parent finds the directory that holds the last part of a path, and returns
// that part, which is not followed.
func (c *call) parent(dirfd int, name string) (dir *file, last string, err error) {
	parent, last := path.Split(strings.TrimRight(name, "/"))
	if parent == "" {
		parent = "."
	}
	if name == "" {
		return nil, "", unix.ENOENT
	}
	if dir, err = c.find(dirfd, parent, 0); err != nil {
		return nil, "", err
	}
	err = nil
	switch who := c.who(); {
	case !dir.ours || !dir.dir():
		err = unix.ENOTDIR
	case !who.may(dir, mayEnter):
		err = errDenied
	case last == "" || last == "." || last == "..":
		err = errNoName
	}
	if err != nil {
		dir.close()
		return nil, "", err
	}
	return dir, last, nil
}

// errNoName says that the last part of a path is not a name by which a file can be made or
// removed.
var errNoName = errors.New("no name")

// child looks at the file that a directory has under a name.
func (e *Emulator) child(dir *file, name string) (*file, error) {
	fd, err := unix.Openat(dir.fd, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return e.newFileOf(fd)
}
