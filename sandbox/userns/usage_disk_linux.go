//go:build amd64 || arm64

package userns

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// entrySize is what each entry of the tree takes at least, in bytes: as much as
// the header that it has in a layer.
const entrySize = 512

// disk is what the step has written to its tree, and what deleted files have, in
// bytes, or something over a limit. A file that was changed counts as a whole, as it does
// in the layer, and each of its names as a part of it.
func (u *usage) disk(limit int64) (int64, error) {
	d := diskUse{limit: limit}
	tree, err := openDir(u.tree, ".")
	if err != nil {
		return 0, err
	}
	defer unix.Close(tree)
	err = d.below(tree, 0, u.was)
	if err != nil || d.used > limit {
		return d.used, err
	}
	deleted, err := u.deletedOnDisk(limit - d.used)
	if err != nil || d.used+deleted > limit {
		return d.used + deleted, err
	}
	return u.hiddenDisk(d.used+deleted, limit)
}

// diskUse adds up what is on disk.
type diskUse struct {
	used, limit int64
	buf         [4096]byte
}

// maxDepth is how deep directories can be that are looked into. What is deeper could not
// be collected.
const maxDepth = 20_000

// below adds what is in a directory and was not there before.
func (d *diskUse) below(dir, depth int, was *original) error {
	if depth == maxDepth {
		return fmt.Errorf("there are directories that are %d deep", maxDepth)
	}
	for d.used <= d.limit {
		n, err := unix.ReadDirent(dir, d.buf[:])
		if n <= 0 || err != nil {
			return unlessReplaced("read", "directory", err)
		}
		_, _, names := unix.ParseDirent(d.buf[:n], -1, nil)
		for _, name := range names {
			if err := d.entry(dir, name, depth, was.was(name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// entry adds an entry of a directory, with all that is below it.
func (d *diskUse) entry(dir int, name string, depth int, was *original) error {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return unlessReplaced("stat", name, err)
	}
	if was == nil || was.ino != st.Ino || was.ctime != st.Ctim.Nano() {
		names := max(int64(st.Nlink), 1)
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			names = 1
		}
		d.used += max((st.Blocks*512+names-1)/names, entrySize)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil
	}
	sub, err := openDir(dir, name)
	if err != nil {
		return unlessReplaced("open", name, err)
	}
	defer unix.Close(sub)
	return d.below(sub, depth+1, was)
}

// unlessReplaced is the error of what is called name, or nil where there is
// nothing any more, or something else.
func unlessReplaced(verb, name string, err error) error {
	if err == unix.ENOENT || err == unix.ENOTDIR || err == unix.ELOOP {
		return nil
	}
	return pathError(verb, name, err)
}

// deletedOnDisk is what files have on disk that are open and have no name, or
// something over a limit.
func (u *usage) deletedOnDisk(limit int64) (used int64, err error) {
	seen := map[object]bool{}
	err = eachOpenFile(func(f *openFile) error {
		var st unix.Stat_t
		if err := unix.Stat(f.path(), &st); err != nil {
			return pathError("stat", f.path(), err)
		}
		o := object{st.Dev, st.Ino}
		kind := st.Mode & unix.S_IFMT
		if st.Nlink > 0 || kind != unix.S_IFREG && kind != unix.S_IFDIR || seen[o] {
			return nil
		}
		memory, err := u.inMemory(f, &st)
		if err != nil || memory {
			return err
		}
		seen[o] = true
		if used += max(st.Blocks*512, entrySize); used > limit {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return used, err
}
