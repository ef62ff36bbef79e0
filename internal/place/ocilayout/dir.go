package ocilayout

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/atomicfile"
	"github.com/varve-image/varve/internal/owner"
)

// attempts limits how often WriteDir looks again when the directory appears or disappears
// meanwhile.
const attempts = 10

// WriteDir writes the image into the layout in the directory dir and returns
// the digest of its manifest.
//
// A dir that does not exist is made, in a directory that does: everything is written under a
// temporary name beside it first. A dir that exists has to be empty or a layout, to which the
// image is added. An image with the same name is replaced in index.json, but its blobs stay. A
// blob that is there already is replaced by the same bytes, which repairs a damaged one.
//
// If another process writes the same layout WriteDir waits for it.
func WriteDir(ctx context.Context, img image.Named, dir string, opts Options) (digest.Digest, error) {
	return writeDir(ctx, content{images: []image.Named{img}}, dir, opts)
}

var errNoImage = errors.New("there is no image to write")

// WriteIndexDir is WriteDir for an index, whose digest it returns: index.json
// lists the index, which lists the images.
func WriteIndexDir(ctx context.Context, index *image.Index, dir string, opts Options) (digest.Digest, error) {
	return writeDir(ctx, indexed(index), dir, opts)
}

func writeDir(ctx context.Context, c content, dir string, opts Options) (digest.Digest, error) {
	if err := opts.check(); err != nil {
		return "", err
	}
	if len(c.images) == 0 {
		return "", errNoImage
	}
	d, err := tryWriteDir(ctx, c, filepath.Clean(dir), opts)
	if err != nil {
		return "", fmt.Errorf("write OCI layout %q: %w", dir, err)
	}
	return d, nil
}

// errAgain says that the directory has changed and has to be looked at again.
var errAgain = errors.New("it keeps changing: other processes are at work on it")

func tryWriteDir(ctx context.Context, c content, dir string, opts Options) (d digest.Digest, err error) {
	for range attempts {
		_, err = os.Stat(dir)
		switch {
		case err == nil:
			d, err = writeExisting(ctx, c, dir, opts)
		case errors.Is(err, fs.ErrNotExist) && !isLink(dir):
			d, err = writeNew(ctx, c, dir, opts)
		}
		if !errors.Is(err, errAgain) {
			break
		}
	}
	return d, err
}

// isLink reports whether path is a symlink, here one that leads nowhere.
func isLink(path string) bool {
	st, err := os.Lstat(path)
	return err == nil && st.Mode().Type() == fs.ModeSymlink
}

// writeExisting adds the image to an existing directory.
func writeExisting(ctx context.Context, c content, dir string, opts Options) (digest.Digest, error) {
	root, err := openDir(dir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	lock, err := takeLock(ctx, root)
	if err != nil {
		return "", err
	}
	defer lock.Release()
	if !isAt(root, dir) {
		return "", errAgain
	}
	w := &dirWriter{root: root}
	return w.write(ctx, c, opts)
}

// openDir opens a directory that a user has named. A link to one has to be this user's or
// root's: in a directory that others can write to, it may be anybody's.
func openDir(dir string) (*os.Root, error) {
	info, err := os.Lstat(dir)
	if err != nil {
		return nil, err
	}
	if info.Mode().Type() == fs.ModeSymlink && !owner.Trusted(info) {
		return nil, fmt.Errorf("it is a symlink of another user's, %d: name what it leads to", owner.Of(info))
	}
	if info, err = os.Stat(dir); err == nil && !info.IsDir() {
		return nil, errors.New("it is not a directory")
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	if opened, err := root.Stat("."); err != nil || !os.SameFile(info, opened) {
		root.Close()
		return nil, errAgain
	}
	return root, nil
}

// isAt reports whether path leads to the open directory.
func isAt(root *os.Root, path string) bool {
	here, err := root.Stat(".")
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(here, there)
}

// writeNew writes a layout beside dir and gives it its name at the end.
func writeNew(ctx context.Context, c content, dir string, opts Options) (digest.Digest, error) {
	temp, err := atomicfile.CreateDir(dir)
	if err != nil {
		return "", againIfThere(dir, err)
	}
	defer temp.Abort()
	w := &dirWriter{root: temp.Root}
	d, err := w.write(ctx, c, opts)
	if err != nil {
		return "", err
	}
	// The mode that it would have if it had been made under its own name.
	made, err := temp.Root.Stat(path.Dir(blobDir))
	if err != nil {
		return "", err
	}
	if err := temp.Root.Chmod(".", made.Mode()); err != nil {
		return "", err
	}
	err = temp.CommitSynced()
	if err != nil && !temp.Named() { // otherwise this one may be there already
		err = againIfThere(dir, err)
	}
	return d, err
}

// againIfThere returns errAgain if somebody else has made dir meanwhile, and otherwise err.
func againIfThere(dir string, err error) error {
	if _, statErr := os.Stat(dir); statErr == nil {
		return errAgain
	}
	return err
}
