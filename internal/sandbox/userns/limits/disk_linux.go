//go:build amd64 || arm64

package limits

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/internal/sandbox/userns/openat"
	"github.com/varve-image/varve/internal/sandbox/userns/worktree"
)

// disk returns what the step has written to its tree plus the size of deleted files, in
// bytes, or some number over the limit. A changed file counts as a whole, as it does in the
// layer, and each of its names counts a part of it.
func (u *usage) disk(limit int64) (int64, error) {
	d := diskUse{limit: limit}
	tree, err := openat.Dir(u.tree, ".")
	if err != nil {
		return 0, err
	}
	defer unix.Close(tree)
	err = d.below(tree, depths{}, u.was)
	if err != nil || d.used > limit {
		return d.used, err
	}
	deleted, err := u.deletedOnDisk(limit - d.used)
	if err != nil || d.used+deleted > limit {
		return d.used + deleted, err
	}
	return u.hiddenDisk(d.used+deleted, limit)
}

// diskUse adds up disk usage.
type diskUse struct {
	used, limit int64
	buf         [4096]byte
}

// depths says how deep a directory is, in directories and in bytes: of its path, with a
// slash at the end unless it is the root.
type depths struct{ names, path int }

// below adds what a directory contains and did not contain before.
func (d *diskUse) below(dir int, at depths, was *worktree.Original) error {
	if at.names == openat.MaxDepth {
		return fmt.Errorf("there are directories that are %d deep", openat.MaxDepth)
	}
	for d.used <= d.limit {
		n, err := unix.ReadDirent(dir, d.buf[:])
		if n <= 0 || err != nil {
			return unlessReplaced("read", "directory", err)
		}
		_, _, names := unix.ParseDirent(d.buf[:n], -1, nil)
		for _, name := range names {
			if err := d.entry(dir, name, at, was.Was(name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// entry adds an entry of a directory, with everything below it.
func (d *diskUse) entry(dir int, name string, at depths, was *worktree.Original) error {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return unlessReplaced("stat", name, err)
	}
	if !was.Is(&st) {
		names := max(int64(st.Nlink), 1)
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			names = 1
		}
		link := 0
		if st.Mode&unix.S_IFMT == unix.S_IFLNK {
			link = int(st.Size)
		}
		d.used += max((st.Blocks*512+names-1)/names, sandbox.EntrySize(at.path+len(name), link, 0))
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil
	}
	sub, err := openat.Dir(dir, name)
	if err != nil {
		return unlessReplaced("open", name, err)
	}
	defer unix.Close(sub)
	return d.below(sub, depths{at.names + 1, at.path + len(name) + 1}, was)
}

// unlessReplaced returns the error for what is called name, or nil where it is gone or has
// been replaced.
func unlessReplaced(verb, name string, err error) error {
	if err == unix.ENOENT || err == unix.ENOTDIR || err == unix.ELOOP {
		return nil
	}
	return pathError(verb, name, err)
}

// deletedOnDisk returns the disk usage of files that are open and have no name, or some
// number over the limit.
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
		if used += max(st.Blocks*512, sandbox.EntrySize(0, 0, 0)); used > limit {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return used, err
}
