package sandboxtest

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/internal/testtools"
	"github.com/varve-image/varve/tree"
)

// Oracle runs a step as in one of Docker's containers, with the kernel's own root: so
// owners, modes, attributes and devices are those on disk. It returns what the step
// printed, and what it changed, which can be read until the test ends. Paths in the step
// refer to its tree, and it must not harm anything else.
//
// It needs root and a directory for temporary files on a file system with extended
// attributes and access lists.
func Oracle(t testing.TB, step *sandbox.Step) (printed string, changes []*tree.Entry) {
	t.Helper()
	testtools.NeedRoot(t)
	root := filepath.Join(t.TempDir(), "root")
	if err := unpack(root, step.Tree); err != nil {
		t.Fatalf("unpack the tree: %v", err)
	}
	if err := os.Mkdir(filepath.Join(root, "proc"), 0o755); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), Probe(t).Source, append([]string{"contain", root}, step.Argv...)...)
	cmd.Stdout, cmd.Stderr, cmd.Env, cmd.Dir = &stdout, &stderr, []string{}, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL,
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS | syscall.CLONE_NEWNET}
	if err := cmd.Run(); err != nil || stderr.Len() > 0 {
		t.Fatalf("run as root in a container: %v\n%s%s", err, stdout.String(), stderr.String())
	}
	if err := os.Remove(filepath.Join(root, "proc")); err != nil {
		t.Fatal(err)
	}
	after, err := readBack(root)
	if err != nil {
		t.Fatalf("read the tree: %v", err)
	}
	keepTimes(step.Tree, after)
	if changes, err = tree.Diff(t.Context(), step.Tree, after); err != nil {
		t.Fatal(err)
	}
	return stdout.String(), changes
}

// KernelDiffers reports whether this machine's kernel has rules other than those that steps
// have wherever they run: those of Linux 6.12, with fs.protected_hardlinks.
func KernelDiffers() (old, unprotected bool) {
	var u unix.Utsname
	var major, minor int
	if err := unix.Uname(&u); err == nil {
		_, _ = fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor)
	}
	protected, err := os.ReadFile("/proc/sys/fs/protected_hardlinks")
	return major < 6 || major == 6 && minor < 12, err != nil || string(protected) != "1\n"
}

// keepTimes gives files the times of the previous files with the same names: a step's layer
// has no others.
func keepTimes(before, after []*tree.Entry) {
	had := map[string]int64{}
	for _, e := range before {
		had[e.Path] = e.ModTime
	}
	for _, e := range after {
		e.ModTime = had[e.Path]
	}
}

// unpack writes a tree to a new directory, unchanged.
func unpack(root string, entries []*tree.Entry) error {
	for _, e := range entries {
		name := filepath.Join(root, e.Path)
		if err := unpackEntry(name, e); err != nil {
			return fmt.Errorf("%q: %w", e.Path, err)
		}
		if err := os.Lchown(name, int(e.UID), int(e.GID)); err != nil {
			return err
		}
		for attr, value := range e.Xattrs {
			if err := unix.Lsetxattr(name, attr, []byte(value), 0); err != nil {
				return fmt.Errorf("%q: set %q: %w", e.Path, attr, err)
			}
		}
		if e.Type == tree.Symlink {
			continue
		}
		if err := unix.Chmod(name, e.Mode); err != nil {
			return fmt.Errorf("%q: %w", e.Path, err)
		}
	}
	return nil
}

func unpackEntry(name string, e *tree.Entry) error {
	switch e.Type {
	case tree.Dir:
		return os.Mkdir(name, 0o700)
	case tree.Symlink:
		return os.Symlink(e.Linkname, name)
	case tree.FIFO:
		return unix.Mkfifo(name, 0o600)
	case tree.Char:
		return unix.Mknod(name, unix.S_IFCHR, int(unix.Mkdev(e.Devmajor, e.Devminor)))
	case tree.Block:
		return unix.Mknod(name, unix.S_IFBLK, int(unix.Mkdev(e.Devmajor, e.Devminor)))
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil || e.Size == 0 {
		return err
	}
	defer f.Close()
	r, err := e.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	if _, err := io.Copy(f, r); err != nil {
		return err
	}
	return f.Close()
}

// readBack reads a directory as a layer would have it, with everything that belongs in a
// layer.
func readBack(root string) (entries []*tree.Entry, err error) {
	err = filepath.WalkDir(root, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		e, err := readEntry(name)
		if err != nil {
			return fmt.Errorf("%q: %w", rel, err)
		}
		if e != nil {
			e.Path = rel
			entries = append(entries, e)
		}
		return nil
	})
	tree.Sort(entries)
	return entries, err
}

// readEntry reads a file's entry, or nil for a socket.
func readEntry(name string) (*tree.Entry, error) {
	var st unix.Stat_t
	if err := unix.Lstat(name, &st); err != nil {
		return nil, err
	}
	e := &tree.Entry{Mode: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid}
	var err error
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		e.Type = tree.Dir
	case unix.S_IFREG:
		e.Type, e.Size = tree.Regular, st.Size
		e.Content = tree.OpenFunc(func() (io.ReadCloser, error) { return os.Open(name) })
	case unix.S_IFLNK:
		e.Type, e.Mode = tree.Symlink, 0o777
		e.Linkname, err = os.Readlink(name)
	case unix.S_IFIFO:
		e.Type = tree.FIFO
	case unix.S_IFCHR:
		e.Type, e.Devmajor, e.Devminor = tree.Char, unix.Major(st.Rdev), unix.Minor(st.Rdev)
	case unix.S_IFBLK:
		e.Type, e.Devmajor, e.Devminor = tree.Block, unix.Major(st.Rdev), unix.Minor(st.Rdev)
	case unix.S_IFSOCK:
		return nil, nil
	}
	if err == nil {
		e.Xattrs, err = readXattrs(name, e.Type == tree.Regular)
	}
	return e, err
}

func readXattrs(name string, regular bool) (map[string]string, error) {
	buf := make([]byte, 1<<16)
	n, err := unix.Llistxattr(name, buf)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for attr := range strings.SplitSeq(string(buf[:n]), "\x00") {
		if !tree.KeepXattr(attr) {
			continue
		}
		if attr == tree.CapabilityXattr && !regular {
			continue // useless, and a layer cannot have it
		}
		value := make([]byte, 1<<16)
		n, err := unix.Lgetxattr(name, attr, value)
		if err == unix.EINVAL {
			continue // an empty list of capabilities counts as none
		}
		if err != nil {
			return nil, fmt.Errorf("read %q: %w", attr, err)
		}
		found[attr] = string(value[:n])
	}
	return found, nil
}
