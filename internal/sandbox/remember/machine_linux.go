package remember

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/regfile"
	"github.com/varve-image/varve/internal/sandbox"
)

// maxFiles limits the files of the machine that are looked at.
const maxFiles = 4_000_000

// seer is a Runner that shows a step, or runs it with, more of the machine's files than the step
// names.
type seer interface {
	// Files returns their paths.
	Files() ([]string, error)
}

// writeVisible writes what a step sees of the machine's files, and returns when the last of them
// was changed.
func writeVisible(ctx context.Context, w io.Writer, r sandbox.Runner, step *sandbox.Step, opts Options) (changed int64, err error) {
	var names []string
	if step.Root == sandbox.HostTools {
		view, err := sandbox.HostView(step.Tools)
		if err != nil {
			return 0, err
		}
		for _, f := range view {
			fmt.Fprintf(w, "shows %q %q\n", f.Path, f.Link)
			if f.Link == "" {
				names = append(names, f.Source)
			}
		}
	}
	for _, b := range step.Binds {
		fmt.Fprintf(w, "binds %q\n", b.Target)
		names = append(names, b.Source)
	}
	if s, ok := r.(seer); ok {
		files, err := s.Files()
		if err != nil {
			return 0, err
		}
		names = append(names, files...)
	}
	for _, name := range names {
		found, err := opts.Looks.at(name, func() (look, error) { return lookAt(ctx, name, opts.Stores) })
		if err != nil {
			return 0, fmt.Errorf("%q: %w", name, err)
		}
		fmt.Fprintf(w, "at %q %x\n", name, found.sum)
		changed = max(changed, found.changed)
	}
	return changed, nil
}

// lookAt looks at a file or directory of the machine and all that is in it.
func lookAt(ctx context.Context, name string, stores []string) (look, error) {
	m := &machine{ctx: ctx, sum: sha256.New(), stores: stores, devices: map[uint64]regfile.Changes{}, dents: make([]byte, 64<<10)}
	if err := m.top(name); err != nil {
		return look{}, err
	}
	m.flush()
	found := look{changed: m.changed}
	m.sum.Sum(found.sum[:0])
	return found, nil
}

// machine takes in what the file system says of files. It opens directories alone: a file is what
// its stamp says.
type machine struct {
	ctx    context.Context
	sum    hash.Hash
	stores []string
	// changed is the latest time of a change.
	changed int64
	files   int
	// devices are the file systems whose stamps can be relied on, as far as their change times can.
	devices map[uint64]regfile.Changes
	buf     []byte
	dents   []byte
}

// top takes in what a path leads to.
func (m *machine) top(name string) error {
	name, err := filepath.EvalSymlinks(name)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Lstat(name, &st); err != nil {
		return err
	}
	return m.entry(unix.AT_FDCWD, name, name, &st)
}

// entry takes in what is called name in the directory dir. full is its path.
func (m *machine) entry(dir int, name, full string, st *unix.Stat_t) error {
	if m.files++; m.files > maxFiles {
		return fmt.Errorf("it has more than %d files", maxFiles)
	}
	if err := m.reliable(dir, name, full, st); err != nil {
		return err
	}
	m.stamp(path.Base(name), st)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		text := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(dir, name, text)
		if err != nil {
			return fmt.Errorf("%q: %w", full, err)
		}
		m.text(string(text[:n]))
	case unix.S_IFDIR:
		if !m.stored(full, st) {
			return m.directory(dir, name, full)
		}
	}
	return nil
}

// stored reports whether a directory is one of a store that is not written to any more: whoever
// puts something else in its place makes it anew. Nix takes the permission to write away when a
// store path is complete. The files of .links are those of the store paths.
func (m *machine) stored(full string, st *unix.Stat_t) bool {
	return slices.Contains(m.stores, path.Dir(full)) && (st.Mode&0o222 == 0 || path.Base(full) == ".links")
}

// directory takes in the content of a directory.
func (m *machine) directory(dir int, name, full string) error {
	if err := m.ctx.Err(); err != nil {
		return err
	}
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EACCES) && unix.Faccessat(dir, name, unix.X_OK, unix.AT_EACCESS) != nil {
		m.text("closed") // nothing in it can be seen
		return nil
	}
	if err != nil {
		return fmt.Errorf("%q: %w", full, err)
	}
	defer unix.Close(fd)
	names, err := m.names(fd)
	if err != nil {
		return fmt.Errorf("%q: %w", full, err)
	}
	m.number(uint64(len(names)))
	for _, name := range names {
		var st unix.Stat_t
		if err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return fmt.Errorf("%q: %w", full+"/"+name, err)
		}
		if err := m.entry(fd, name, full+"/"+name, &st); err != nil {
			return err
		}
	}
	return nil
}

// names returns the names in a directory, sorted.
func (m *machine) names(fd int) ([]string, error) {
	var names []string
	for {
		n, err := unix.ReadDirent(fd, m.dents)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n <= 0 {
			slices.Sort(names)
			return names, err
		}
		_, _, names = unix.ParseDirent(m.dents[:n], -1, names)
	}
}

// reliable returns an error if a file's stamp does not say whether it was changed.
func (m *machine) reliable(dir int, name, full string, st *unix.Stat_t) error {
	device := uint64(st.Dev)
	changes, ok := m.devices[device]
	if !ok {
		var err error
		if changes, err = changesAt(dir, name, full); err != nil {
			return err
		}
		m.devices[device] = changes
	}
	if st.Ctim.Nano() == 0 || st.Mode&unix.S_IFMT == unix.S_IFREG && changes.Unknown(st.Ctim.Nano(), st.Mtim.Nano()) {
		return fmt.Errorf("%q has no time of its last change", full)
	}
	return nil
}

// changesAt looks at the file system of what is called name in dir.
func changesAt(dir int, name, full string) (regfile.Changes, error) {
	fd, err := unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0) // which does not open a device or a FIFO
	if err != nil {
		return 0, fmt.Errorf("%q: %w", full, err)
	}
	defer unix.Close(fd)
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return 0, fmt.Errorf("%q: %w", full, err)
	}
	changes, err := regfile.ChangesIn(fd)
	if err != nil {
		return 0, fmt.Errorf("%q: %w", full, err)
	}
	if foreign(uint32(fs.Type)) || changes == regfile.Lost {
		return 0, fmt.Errorf("%q is in a file system whose times others keep, or nobody", full)
	}
	return changes, nil
}

// foreign reports whether a file system's change times are kept by another machine or program, or
// say nothing of its files.
func foreign(kind uint32) bool {
	const ceph = 0x00c36400
	return slices.Contains([]uint32{
		unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.DEBUGFS_MAGIC, unix.TRACEFS_MAGIC, unix.SECURITYFS_MAGIC, unix.CGROUP_SUPER_MAGIC,
		unix.CGROUP2_SUPER_MAGIC, unix.BPF_FS_MAGIC, unix.PSTOREFS_MAGIC, unix.EFIVARFS_MAGIC, unix.DEVPTS_SUPER_MAGIC,
		unix.NFS_SUPER_MAGIC, unix.AFS_SUPER_MAGIC, unix.AFS_FS_MAGIC, unix.CODA_SUPER_MAGIC, ceph,
	}, kind)
}

// stamp takes in a name and what the file system says of the file.
func (m *machine) stamp(name string, st *unix.Stat_t) {
	m.changed = max(m.changed, st.Ctim.Nano())
	m.text(name)
	for _, n := range []uint64{
		uint64(st.Dev), st.Ino, uint64(st.Mode)<<32 | uint64(st.Uid), uint64(st.Gid), uint64(st.Rdev),
		uint64(st.Size), uint64(st.Mtim.Nano()), uint64(st.Ctim.Nano()),
	} {
		m.number(n)
	}
}

func (m *machine) text(s string) {
	m.number(uint64(len(s)))
	m.buf = append(m.buf, s...)
}

func (m *machine) number(n uint64) {
	m.buf = binary.BigEndian.AppendUint64(m.buf, n)
	if len(m.buf) >= 64<<10 {
		m.flush()
	}
}

func (m *machine) flush() {
	m.sum.Write(m.buf)
	m.buf = m.buf[:0]
}
