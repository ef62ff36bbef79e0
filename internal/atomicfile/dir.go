package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/flock"
	"github.com/varve-image/varve/internal/owner"
	"github.com/varve-image/varve/internal/regfile"
	"github.com/varve-image/varve/internal/rmtree"
)

// Dir is a directory that is being filled. Only this user may enter it as long as it has
// the mode owner.TempDir: whoever fills it sets the final mode at the end.
type Dir struct {
	// Root is the directory. Other users who may write to its parent may be able to give
	// its name to something else.
	Root   *os.Root
	parent *os.Root
	name   string   // in parent; empty once it is committed or aborted
	named  bool     // it was committed
	lock   *os.File // the directory, locked

	target, base string
}

// CreateDir begins a directory that is to be named target, where there must be
// nothing or an empty directory. The caller must end it with Commit or Abort.
func CreateDir(target string) (*Dir, error) {
	target, err := vacant(target)
	if err != nil {
		return nil, err
	}
	return createDir(target)
}

// TempDir makes a directory in parent that is never committed. An empty parent means
// the system's directory for temporary files.
func TempDir(parent string) (*Dir, error) {
	if parent == "" {
		parent = os.TempDir()
	}
	return createDir(filepath.Join(parent, "temp"))
}

func createDir(target string) (*Dir, error) {
	parent, err := os.OpenRoot(dirOf(target))
	if err != nil {
		return nil, fmt.Errorf("create %q: %w", target, regfile.Cause(err))
	}
	_, base := filepath.Split(target)
	d := &Dir{parent: parent, target: target, base: base}
	reclaim(parent, base)
	if err := tryNames(base, d.begin); err != nil {
		parent.Close()
		return nil, fmt.Errorf("create %q: %w", target, regfile.Cause(err))
	}
	return d, nil
}

// Path returns the directory's name, for callees that can only take a name.
func (d *Dir) Path() string { return filepath.Join(d.parent.Name(), d.name) }

// begin makes the directory.
func (d *Dir) begin(name string) error {
	if err := d.parent.Mkdir(name, 0o700); err != nil {
		return err
	}
	err := d.open(name)
	if err == nil {
		return nil
	}
	d.close()
	_ = d.parent.Remove(name) // if it is not empty it is another directory, and stays

	if errors.Is(err, fs.ErrNotExist) { // another process took it for a leftover
		err = fs.ErrExist
	}
	return err
}

// open opens the new directory name and locks it.
func (d *Dir) open(name string) (err error) {
	if d.lock, err = d.parent.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0); err != nil {
		return err
	}
	if d.Root, err = d.parent.OpenRoot(name); err != nil {
		return err
	}
	// As for files, see begin. It must not be something that others put in its place.
	locked, _, err := flock.Try(d.lock, flock.Exclusive)
	if err != nil {
		return err
	}
	if !locked || !isAt(d.lock, d.parent, name) || !isAt(d.lock, d.Root, ".") || !fresh(d.lock) {
		return fs.ErrExist
	}
	d.name = name
	return d.lock.Chmod(owner.TempDir)
}

// fresh reports whether a directory is this user's and empty.
func fresh(dir *os.File) bool {
	info, err := dir.Stat()
	if err != nil || !owner.Ours(info) {
		return false
	}
	_, err = dir.Readdirnames(1)
	return err == io.EOF
}

// vacant returns the name of a directory that can be made at target, without a
// trailing slash.
func vacant(target string) (string, error) {
	name := strings.TrimRight(target, "/")
	if name == "" || name == "." || strings.HasSuffix(name, "/.") || name == ".." || strings.HasSuffix(name, "/..") {
		return "", fmt.Errorf("%q has no name of its own that it could be given when it is complete: name a directory in it", target)
	}
	st, err := os.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return name, nil
	case err != nil:
		return "", err
	case !st.IsDir():
		return "", fmt.Errorf("%q exists and is not a directory", name)
	}
	dir, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer dir.Close()
	if names, _ := dir.Readdirnames(1); len(names) > 0 {
		return "", fmt.Errorf("%q exists and is not empty: remove it, or name another directory", name)
	}
	return name, nil
}

// Commit makes the directory with its content durable and gives it its name. After
// an error nothing is left of it.
func (d *Dir) Commit() error {
	if err := d.marked(syncAll); err != nil {
		d.Abort()
		return fmt.Errorf("write %q: %w", d.target, err)
	}
	return d.CommitSynced()
}

// marked calls use, which may take long, while the directory has the mode that lets the next
// process remove it if this one is killed. Until then it had its final mode, which it gets back.
func (d *Dir) marked(use func(dir *os.File) error) error {
	info, err := d.lock.Stat()
	if err != nil {
		return err
	}
	if err := d.lock.Chmod(owner.TempDir); err != nil {
		return err
	}
	if err := use(d.lock); err != nil {
		return err
	}
	if err := d.lock.Chmod(info.Mode()); err != nil {
		return err
	}
	return syncDir(d.lock)
}

// CommitSynced is Commit for a directory whose content is on disk already.
func (d *Dir) CommitSynced() error {
	defer d.Abort()
	if !isAt(d.lock, d.parent, d.name) {
		return fmt.Errorf("create %q: somebody has taken away %q, under which it was made", d.target, d.Path())
	}
	if err := d.rename(); err != nil {
		return fmt.Errorf("create %q: %w", d.target, regfile.Cause(err))
	}
	d.name, d.named = "", true
	return syncNames(d.parent, d.target)
}

// Named reports whether the directory got its name: after an error of Commit it may have.
func (d *Dir) Named() bool { return d.named }

// rename gives the directory its name, replacing an empty directory: os.Root's Rename does not
// replace one.
func (d *Dir) rename() error {
	at, err := d.parent.Open(".")
	if err != nil {
		return err
	}
	defer at.Close()
	return unix.Renameat(int(at.Fd()), d.name, int(at.Fd()), d.base)
}

// Abort removes the directory with its content, unless it was committed.
func (d *Dir) Abort() {
	if d.name != "" {
		_ = rmtree.Below(int(d.lock.Fd()))
		if isAt(d.lock, d.parent, d.name) {
			_ = d.parent.Remove(d.name)
		}
		d.name = ""
	}
	d.close()
	d.parent.Close()
}

func (d *Dir) close() {
	if d.lock != nil {
		d.lock.Close()
	}
	if d.Root != nil {
		d.Root.Close()
	}
}
