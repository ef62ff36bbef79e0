package ocilayout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/internal/regfile"
	"github.com/varve-image/varve/internal/tarindex"
	"github.com/varve-image/varve/layer"
)

// Layout is an OCI layout, open for reading.
type Layout struct {
	name  string
	files files
	list  []image.Listed
	// tops holds what index.json lists for each image of list: its manifest, or the index that
	// it is in.
	tops []v1.Descriptor
	// artifacts are manifests that are not an image's.
	artifacts []image.Artifact
	// whole is index.json where that is itself the index of one image for several
	// platforms; otherwise it is nil.
	whole []byte
}

// Open opens the layout in a directory, or in an archive of one, plain or compressed. A
// compressed archive is unpacked to a temporary file without a name in tempDir, which defaults
// to the system's directory for such files.
func Open(ctx context.Context, name, tempDir string) (*Layout, error) {
	f, err := openFiles(ctx, name, tempDir)
	if err != nil {
		return nil, fmt.Errorf("read OCI layout %q: %w", name, err)
	}
	l, err := newLayout(ctx, name, f)
	if err != nil {
		f.close()
	}
	return l, err
}

// FromTar opens the layout in an open archive, which Close closes.
func FromTar(ctx context.Context, name string, t *tarindex.Archive) (*Layout, error) {
	return newLayout(ctx, name, tarFiles{t})
}

func newLayout(ctx context.Context, name string, f files) (*Layout, error) {
	l := &Layout{name: name, files: f}
	if err := l.readIndex(ctx); err != nil {
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
	t, err := tarindex.Open(ctx, name, tarindex.Options{TempDir: tempDir})
	if err != nil {
		return nil, err
	}
	return tarFiles{t}, nil
}

// readTop returns index.json, and what it lists.
func readTop(f files) ([]byte, []v1.Descriptor, error) {
	if err := checkLayout(f); err != nil {
		return nil, nil, err
	}
	data, err := readFile(f, indexName)
	if err != nil {
		return nil, nil, err
	}
	_, list, err := ocijson.ParseIndex(data)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", indexName, err)
	}
	return data, list, nil
}

// readIndex lists the images of index.json. They have the names that it gives
// them, or the index that they are in.
func (l *Layout) readIndex(ctx context.Context) error {
	data, index, err := readTop(l.files)
	if err != nil {
		return err
	}
	images, err := ocijson.Images(index, func(d v1.Descriptor) ([]byte, error) { return l.Document(ctx, d) })
	images = l.withoutArtifacts(ctx, images)
	whole := isWhole(images)
	for _, i := range images {
		listed := image.Listed{ID: i.Descriptor.Digest.String(), Descriptor: i.Descriptor}
		switch {
		case whole:
			listed.Index, l.whole = digest.FromBytes(data), data
		case i.Depth > 0:
			listed.Index = i.Top.Digest
		}
		l.tops = append(l.tops, i.Top)
		listed.Names = namesOf(i.Top)
		l.list = append(l.list, listed)
	}
	return err
}

// namesOf returns the names that index.json gives to what it lists.
func namesOf(d v1.Descriptor) (names []string) {
	for _, key := range []string{AnnotationName, v1.AnnotationRefName} {
		if name := d.Annotations[key]; name != "" {
			names = append(names, name)
		}
	}
	return names
}

// maxLooked limits the manifests that are read to find out what is not an image, in bytes.
const maxLooked = 32 << 20

// withoutArtifacts removes what is not an image, such as signatures beside images. What cannot
// be read stays, so that it is an error when it is asked for.
func (l *Layout) withoutArtifacts(ctx context.Context, listed []ocijson.Listed) []ocijson.Listed {
	looked := int64(0)
	return slices.DeleteFunc(listed, func(i ocijson.Listed) bool {
		what := ""
		if ocijson.IsArtifact(i.Descriptor) {
			what = i.Descriptor.ArtifactType
		} else if looked += i.Descriptor.Size; looked <= maxLooked && i.Descriptor.Size <= ocijson.MaxSize {
			if data, err := l.Document(ctx, i.Descriptor); err == nil {
				what = ocijson.Artifact(data)
			}
		}
		if what == "" {
			return false
		}
		l.artifacts = append(l.artifacts, image.Artifact{Names: namesOf(i.Top), Digest: i.Descriptor.Digest, Type: what})
		return true
	})
}

// Artifacts returns what the layout lists that is not an image.
func (l *Layout) Artifacts() []image.Artifact { return l.artifacts }

// isWhole reports whether an index.json is itself the index of one image: what it lists has no
// names, and each has a platform of its own.
func isWhole(images []ocijson.Listed) bool {
	seen := map[string]bool{}
	for _, i := range images {
		d := i.Descriptor
		if i.Depth > 0 || d.Platform == nil || i.Top.Annotations[AnnotationName] != "" || i.Top.Annotations[v1.AnnotationRefName] != "" {
			return false
		}
		key := ocijson.Key(*d.Platform)
		if seen[key] {
			return false
		}
		seen[key] = true
	}
	return len(images) > 1
}

// Close closes the layout. Its layers cannot be opened any more.
func (l *Layout) Close() error { return l.files.close() }

// String names the layout in messages.
func (l *Layout) String() string { return fmt.Sprintf("OCI layout %q", l.name) }

func (l *Layout) wrap(err error) error { return fmt.Errorf("read %s: %w", l, err) }

// List returns the layout's images in order, those of nested indexes included,
// and attestations about other images left out.
func (l *Layout) List() []image.Listed { return l.list }

// Open reads the manifest and the config of an image of List and checks that
// they belong together.
func (l *Layout) Open(ctx context.Context, i int) (*image.Stored, error) {
	img, err := image.Open(ctx, l.list[i].Descriptor, l, "")
	if err != nil {
		return nil, l.wrap(err)
	}
	if l.whole != nil {
		img.Raw = l.whole
	} else if top := l.tops[i]; top.Digest != l.list[i].Descriptor.Digest {
		if img.Raw, err = l.Document(ctx, top); err != nil {
			return nil, l.wrap(err)
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

// Fetch opens a blob, which has the size that d says; the reader has to check its digest.
func (l *Layout) Fetch(_ context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	return fetch(l.files, d)
}

// fetch opens a blob that has its descriptor's size.
func fetch(f files, d v1.Descriptor) (io.ReadCloser, error) {
	return openSized(f, BlobPath(d.Digest), d)
}

func openSized(f files, name string, d v1.Descriptor) (io.ReadCloser, error) {
	r, size, err := f.open(name)
	if errors.Is(err, fs.ErrNotExist) && len(d.URLs) > 0 {
		return nil, fmt.Errorf("blob %s: the layer is kept outside of the layout (it has urls), from where it is not fetched", d.Digest)
	}
	if _, ok := f.(tarFiles); ok && errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read blob %s: %w: docker save leaves out what Docker lacks of other platforms", d.Digest, fs.ErrNotExist)
	}
	if err != nil {
		return nil, fmt.Errorf("read blob %s: %w", d.Digest, regfile.Cause(err))
	}
	if size != d.Size {
		r.Close()
		return nil, &layer.DigestError{What: "blob", Want: d.Digest, WantSize: d.Size, GotSize: size}
	}
	return r, nil
}
