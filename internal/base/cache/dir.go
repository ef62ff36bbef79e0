package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/owner"
	"github.com/varve-image/varve/internal/place/ocilayout"
	"github.com/varve-image/varve/internal/regfile"
)

// openLayout opens the cache's layout, which it makes if there is none, and checks who owns it.
func (s *Store) openLayout(ctx context.Context) error {
	dir, err := openDir(s.dir)
	if err != nil {
		return regfile.Cause(err)
	}
	if s.root, err = s.openBlobs(dir); err != nil {
		return err
	}
	if _, err := s.root.Lstat(v1.ImageIndexFile); !s.foreign && errors.Is(err, fs.ErrNotExist) {
		if err := ocilayout.Init(ctx, s.root); err != nil {
			return err
		}
	}
	for _, name := range []string{"blobs", "blobs/sha256", "blobs/sha512"} {
		if err := s.checkDir(s.root, name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// openDir opens a cache's directory, which it makes for this user alone if it is not there.
func openDir(dir string) (*os.Root, error) {
	info, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(dir, 0o700); err == nil {
			info, err = os.Lstat(dir)
		}
	}
	if err != nil {
		return nil, err
	}
	link := info.Mode().Type() == fs.ModeSymlink
	if link && !owner.Trusted(info) {
		return nil, fmt.Errorf("it is a symlink of another user's, %d: name what it leads to", owner.Of(info))
	}
	if to, err := os.Stat(dir); err != nil {
		return nil, err
	} else if !to.IsDir() { // opening a FIFO would block
		return nil, unix.ENOTDIR
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	if opened, err := root.Stat("."); err != nil || !link && !os.SameFile(info, opened) {
		root.Close()
		return nil, errors.New("it changed while it was opened")
	}
	return root, nil
}

// openBlobs opens the layout of the cache in dir: the directory itself, or blobs in it. dir is
// closed unless it is returned itself.
func (s *Store) openBlobs(dir *os.Root) (*os.Root, error) {
	info, err := dir.Stat(".")
	if err != nil {
		dir.Close()
		return nil, err
	}
	s.owner, s.foreign = owner.Of(info), !owner.Trusted(info)
	if _, err := dir.Lstat(v1.ImageLayoutFile); err == nil {
		return dir, nil
	}
	defer dir.Close()
	if !s.foreign {
		if err := dir.Mkdir("blobs", 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, regfile.Cause(err)
		}
	}
	if err := s.checkDir(dir, "blobs"); err != nil {
		return nil, err
	}
	return dir.OpenRoot("blobs")
}

// belongs reports whether a file is this user's, root's or the cache owner's.
func (s *Store) belongs(info fs.FileInfo) bool {
	return owner.Trusted(info) || owner.Of(info) == s.owner
}

// checkDir fails if name is anything but a directory that belongs to the cache.
func (s *Store) checkDir(root *os.Root, name string) error {
	info, err := root.Lstat(name)
	switch {
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%q is not a directory: remove it", name)
	case !s.belongs(info):
		return fmt.Errorf("directory %q belongs to another user, %d: remove it", name, owner.Of(info))
	}
	return nil
}

// checkIndex fails if the layout's index.json is another user's.
func (s *Store) checkIndex() error {
	info, err := s.root.Lstat(v1.ImageIndexFile)
	if err == nil && !s.belongs(info) {
		err = fmt.Errorf("%q belongs to another user, %d: remove it", v1.ImageIndexFile, owner.Of(info))
	}
	return err
}

// index returns what the cache lists.
func (s *Store) index() ([]v1.Descriptor, error) {
	if err := s.checkIndex(); err != nil {
		return nil, err
	}
	return ocilayout.ReadIndex(s.root)
}

// writable fails if nothing may be written to the cache.
func (s *Store) writable() error {
	if s.foreign {
		return &DirError{s.dir, fmt.Errorf("it belongs to another user, %d, and is only read", s.owner)}
	}
	return nil
}

// makeParent makes the directory that a blob is in.
func (s *Store) makeParent(name string) error {
	dir := path.Dir(name)
	if err := s.root.Mkdir(dir, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return regfile.Cause(err)
	}
	return s.checkDir(s.root, dir)
}
