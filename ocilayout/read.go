package ocilayout

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/internal/tarindex"
	"github.com/varve-image/varve/layer"
)

// Layout is an OCI layout that is read.
type Layout struct {
	name  string
	files files
	index []v1.Descriptor
}

// Open opens the layout in a directory, or in an archive of one, plain or
// compressed with gzip or zstd. A compressed archive is unpacked to a
// temporary file in tempDir that has no name; empty is the system's place for
// such files.
func Open(ctx context.Context, name, tempDir string) (*Layout, error) {
	f, err := openFiles(ctx, name, tempDir)
	if err != nil {
		return nil, fmt.Errorf("read OCI layout %q: %w", name, err)
	}
	l := &Layout{name: name, files: f}
	if l.index, err = readIndex(f); err != nil {
		f.close()
		return nil, l.wrap(err)
	}
	return l, nil
}

func openFiles(ctx context.Context, name, tempDir string) (files, error) {
	st, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, err
	case st.IsDir():
		root, err := os.OpenRoot(name)
		if err != nil {
			return nil, err
		}
		return dirFiles{root}, nil
	}
	t, err := tarindex.Open(ctx, name, tempDir)
	if err != nil {
		return nil, err
	}
	return tarFiles{t}, nil
}

func readIndex(f files) ([]v1.Descriptor, error) {
	if err := checkLayout(f); err != nil {
		return nil, err
	}
	data, err := readFile(f, indexName)
	if err != nil {
		return nil, err
	}
	_, descs, err := ocijson.ParseIndex(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", indexName, err)
	}
	return descs, nil
}

// Close closes the layout. Its layers cannot be opened any more.
func (l *Layout) Close() error { return l.files.close() }

func (l *Layout) wrap(err error) error {
	return fmt.Errorf("read OCI layout %q: %w", l.name, err)
}

// Index lists what index.json does, in its order.
func (l *Layout) Index() []v1.Descriptor { return slices.Clone(l.index) }

// Entry is an image's manifest as index.json, or an index below it, lists it.
type Entry struct {
	// RefName is the image's name in the layout
	// (org.opencontainers.image.ref.name), and Name its full one
	// (io.containerd.image.name). Either may be empty. Manifests of a nested
	// index have the names of that index.
	RefName, Name string
	// Top is what index.json lists: the manifest, or the index that it is in,
	// whose images are one for several platforms.
	Top v1.Descriptor
	// Descriptor is the manifest's.
	Descriptor v1.Descriptor
}

// Entries lists the layout's images in order, those of nested indexes
// included, and attestations about other images left out.
func (l *Layout) Entries(ctx context.Context) ([]Entry, error) {
	var entries []Entry
	for _, top := range l.index {
		manifests, err := image.Manifests(ctx, top, l)
		if err != nil {
			return nil, l.wrap(err)
		}
		for _, d := range manifests {
			entries = append(entries, Entry{top.Annotations[v1.AnnotationRefName], top.Annotations[AnnotationName], top, d})
		}
		if len(entries) > ocijson.MaxDescriptors {
			return nil, l.wrap(fmt.Errorf("more than %d images", ocijson.MaxDescriptors))
		}
	}
	return entries, nil
}

// Image reads the manifest and the config of an entry and checks that they
// belong together.
func (l *Layout) Image(ctx context.Context, e Entry) (*image.Existing, error) {
	img, err := image.Open(ctx, e.Descriptor, l)
	if err != nil {
		return nil, l.wrap(err)
	}
	for _, name := range []string{e.Name, e.RefName} {
		if name != "" {
			img.Names = append(img.Names, name)
		}
	}
	return img, nil
}

// Document reads a blob of JSON.
func (l *Layout) Document(_ context.Context, d v1.Descriptor) ([]byte, error) {
	if d.Size > ocijson.MaxSize {
		return nil, fmt.Errorf("blob %s is said to have %d bytes, more than %d", d.Digest, d.Size, ocijson.MaxSize)
	}
	blob, err := fetch(l.files, d)
	if err != nil {
		return nil, err
	}
	defer blob.Close()
	return io.ReadAll(layer.Verify(blob, d))
}

// Fetch opens a blob, which has the size that d says; its digest is for the
// reader to check.
func (l *Layout) Fetch(_ context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	return fetch(l.files, d)
}

// fetch opens a blob that has the size that its descriptor says.
func fetch(f files, d v1.Descriptor) (io.ReadCloser, error) {
	r, size, err := f.open(BlobPath(d.Digest))
	if err != nil {
		return nil, err
	}
	if size != d.Size {
		r.Close()
		return nil, fmt.Errorf("blob %s has %d bytes, %d are expected", d.Digest, size, d.Size)
	}
	return r, nil
}
