//go:build amd64 || arm64

package userns

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// living finds all files that a step still has: in the tree, in the
// directories for temporary files, and open without a name.
type living struct {
	tree      int
	temporary []string
}

func (l *living) each(found func(key)) error {
	if err := eachBelow(l.tree, 0, found); err != nil {
		return err
	}
	for _, name := range l.temporary {
		fd, err := openDir(unix.AT_FDCWD, name)
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

// eachBelow finds what is in a directory, and the directory.
func eachBelow(dir, depth int, found func(key)) error {
	var st unix.Stat_t
	if err := unix.Fstat(dir, &st); err != nil {
		return err
	}
	found(key{st.Dev, st.Ino})
	if depth == maxDepth {
		return unix.ENAMETOOLONG
	}
	names, err := readNames(dir)
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
		sub, err := openDir(dir, name)
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
	pids, err := processes()
	if err != nil {
		return err
	}
	for _, pid := range pids {
		tids, err := numbersIn(procOf(pid) + "/task")
		if err != nil && !gone(err) {
			return err
		}
		for _, tid := range tids {
			dir := taskOf(pid, tid) + "/fd"
			fds, err := numbersIn(dir)
			if err != nil && !gone(err) {
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
