//go:build amd64 || arm64

package fakeroot

import (
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox/userns/openat"
	"github.com/varve-image/varve/internal/sandbox/userns/procfs"
)

// living finds all files that a step still has: in the tree, in the directories for
// temporary files, and open without a name.
type living struct {
	tree      int
	temporary []string
}

func (l *living) each(found func(key)) error {
	if err := eachBelow(l.tree, 0, found); err != nil {
		return err
	}
	for _, name := range l.temporary {
		fd, err := openat.Dir(unix.AT_FDCWD, name)
		if err == nil {
			err = eachBelow(fd, 0, found)
			unix.Close(fd)
		}
		if err != nil {
			return err
		}
	}
	return eachOpen(found)
}

// eachBelow finds a directory and everything in it.
func eachBelow(dir, depth int, found func(key)) error {
	var st unix.Stat_t
	if err := unix.Fstat(dir, &st); err != nil {
		return err
	}
	found(key{st.Dev, st.Ino})
	if depth == openat.MaxDepth {
		return unix.ENAMETOOLONG
	}
	names, err := openat.Names(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		switch err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); {
		case err == unix.ENOENT:
			continue
		case err != nil:
			return err
		case st.Mode&unix.S_IFMT != unix.S_IFDIR:
			found(key{st.Dev, st.Ino})
			continue
		}
		sub, err := openat.Dir(dir, name)
		if err == nil {
			err = eachBelow(sub, depth+1, found)
			unix.Close(sub)
		}
		if err != nil && err != unix.ENOENT {
			return err
		}
	}
	return nil
}

// eachOpen finds what the threads of the step have open.
func eachOpen(found func(key)) error {
	pids, err := procfs.Processes()
	if err != nil {
		return err
	}
	for _, pid := range pids {
		tids, err := procfs.Numbers(procfs.Dir(pid) + "/task")
		if err != nil && !procfs.Gone(err) {
			return err
		}
		for _, tid := range tids {
			dir := procfs.Task(pid, tid) + "/fd"
			fds, err := procfs.Numbers(dir)
			if err != nil && !procfs.Gone(err) {
				return err
			}
			for _, fd := range fds {
				var st unix.Stat_t
				if unix.Stat(dir+"/"+strconv.Itoa(fd), &st) == nil {
					found(key{st.Dev, st.Ino})
				}
			}
		}
	}
	return nil
}
