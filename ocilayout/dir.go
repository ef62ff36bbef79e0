package ocilayout

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/atomicfile"
)

// attempts is how often WriteDir looks again when the directory appears or
// goes away under its eyes.
const attempts = 10

// WriteDir writes the image into the layout in the directory dir and returns
// the digest of its manifest.
//
// A dir that does not exist is made, in a directory that does: everything is
// written under a temporary name beside it first. One that exists has to be
// empty or a layout, which the image is added to; an image of the same name
// in it is replaced in index.json, its blobs stay. A blob that is there
// already is replaced by the same bytes, which mends a damaged one.
//
// If another process writes the same layout WriteDir waits for it.
func WriteDir(ctx context.Context, img *image.Image, dir string, opts Options) (digest.Digest, error) {
	return writeDir(ctx, content{images: []*image.Image{img}}, dir, opts)
}

// WriteIndexDir is WriteDir for an index, whose digest it returns: index.json
// lists the index, which lists the images.
func WriteIndexDir(ctx context.Context, index *image.Index, dir string, opts Options) (digest.Digest, error) {
	return writeDir(ctx, content{index.Images, index}, dir, opts)
}

func writeDir(ctx context.Context, c content, dir string, opts Options) (digest.Digest, error) {
	if err := opts.check(); err != nil {
		return "", err
	}
	d, err := tryWriteDir(ctx, c, filepath.Clean(dir), opts)
	if err != nil {
		return "", fmt.Errorf("write OCI layout %q: %w", dir, err)
	}
	return d, nil
}

// errAgain says that the world has changed: look at it anew.
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

// writeExisting adds the image to a directory that is there.
func writeExisting(ctx context.Context, c content, dir string, opts Options) (digest.Digest, error) {
	w, err := openDir(dir)
	if err != nil {
		return "", err
	}
	defer w.close()
	if err := w.lock.wait(ctx); err != nil {
		return "", err
	}
	if !w.isAt(dir) {
		return "", errAgain
	}
	return w.write(ctx, c, opts)
}

// writeNew writes a layout beside dir and gives it its name at the end.
func writeNew(ctx context.Context, c content, dir string, opts Options) (d digest.Digest, err error) {
	parent := filepath.Dir(dir)
	removeStale(parent, tempPrefix(dir))
	temp := filepath.Join(parent, tempPrefix(dir)+rand.Text()[:10])
	if err := os.Mkdir(temp, 0o777); err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(temp)
		}
	}()
	w, err := openDir(temp)
	if errors.Is(err, fs.ErrNotExist) {
		return "", errAgain // taken for stale, see below
	}
	if err != nil {
		return "", err
	}
	defer w.close()
	locked, err := w.lock.try()
	if err != nil {
		return "", err
	}
	if !locked || !w.isAt(temp) {
		return "", errAgain // taken for stale before it was locked
	}
	if d, err = w.write(ctx, c, opts); err != nil {
		return "", err
	}
	if err := os.Rename(temp, dir); err != nil {
		if _, statErr := os.Stat(dir); statErr == nil {
			return "", errAgain // another was faster
		}
		return "", err
	}
	if err := atomicfile.SyncDir(parent); err != nil {
		return d, fmt.Errorf("it is complete, but may not survive a power failure: %w", err)
	}
	return d, nil
}

// tempPrefix begins the temporary names that dir's layout may have.
func tempPrefix(dir string) string { return "." + filepath.Base(dir) + ".varve-" }

// removeStale removes the directories that killed processes have left: those
// that nobody has locked.
func removeStale(parent, prefix string) {
	entries, _ := os.ReadDir(parent)
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), prefix) {
			continue
		}
		path := filepath.Join(parent, e.Name())
		lock, err := openLock(path)
		if err != nil {
			continue
		}
		if locked, err := lock.try(); locked && err == nil && lock.known && lock.isAt(path) {
			os.RemoveAll(path)
		}
		lock.close()
	}
}
