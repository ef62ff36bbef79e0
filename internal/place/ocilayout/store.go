package ocilayout

import (
	"bytes"
	"context"
	"fmt"
	"os"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/internal/ocijson"
)

// The functions below are for packages that keep a layout's blobs themselves.

// Init makes an empty directory dir a layout without images. A dir that is a
// layout already stays as it is.
func Init(ctx context.Context, dir *os.Root) error {
	return updateIndex(ctx, dir, func(*ordjson.Object) error { return nil })
}

// ReadIndex returns what the index.json of the layout at root lists, in its
// order. No blob is read.
func ReadIndex(root *os.Root) ([]v1.Descriptor, error) {
	_, list, err := readTop(dirFiles{root})
	return list, err
}

// AddManifest lists an index or a manifest in the layout in dir, replacing one
// with the same name (org.opencontainers.image.ref.name).
func AddManifest(ctx context.Context, dir *os.Root, manifest v1.Descriptor) error {
	return updateIndex(ctx, dir, func(index *ordjson.Object) error { return replaceManifest(index, manifest) })
}

// RemoveManifests removes those for which gone returns true from the list of the
// layout in dir. Blobs stay.
func RemoveManifests(ctx context.Context, dir *os.Root, gone func(v1.Descriptor) bool) error {
	return updateIndex(ctx, dir, func(index *ordjson.Object) error {
		v, _ := index.Get("manifests")
		list, _ := v.([]any)
		kept := []any{}
		for _, item := range list {
			d, err := ocijson.ParseDescriptor(item)
			if err != nil {
				return err
			}
			if !gone(d) {
				kept = append(kept, item)
			}
		}
		index.Set("manifests", kept)
		return nil
	})
}

// OpenBlob opens a blob of the layout at root. A missing one is fs.ErrNotExist;
// what is not a regular file is an error and is not opened. The reader has to
// check the digest.
func OpenBlob(root *os.Root, d digest.Digest) (*os.File, error) {
	return openRegular(root, BlobPath(d))
}

// updateIndex changes the index.json of the layout in dir, under its lock.
func updateIndex(ctx context.Context, dir *os.Root, change func(*ordjson.Object) error) error {
	if err := tryUpdate(ctx, dir, change); err != nil {
		return fmt.Errorf("write OCI layout %q: %w", dir.Name(), err)
	}
	return nil
}

func tryUpdate(ctx context.Context, dir *os.Root, change func(*ordjson.Object) error) error {
	lock, err := takeLock(ctx, dir)
	if err != nil {
		return err
	}
	defer lock.Release()
	w := &dirWriter{root: dir}
	index, err := w.readIndex()
	if err != nil {
		return err
	}
	w.removeTemps()
	isNew := index == nil
	if err := w.makeDirs(isNew); err != nil {
		return err
	}
	if isNew {
		index = ocijson.EmptyIndex()
	}
	before, err := ordjson.Marshal(index)
	if err != nil {
		return err
	}
	if err := change(index); err != nil {
		return err
	}
	after, err := ordjson.Marshal(index)
	if err != nil || !isNew && bytes.Equal(before, after) {
		return err
	}
	return w.commit(ctx, after)
}
