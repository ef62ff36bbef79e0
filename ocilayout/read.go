package ocilayout

import (
	"context"
	"fmt"
	"io"
	"os"

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

// Entry is an image's manifest as index.json, or an index below it, lists it.
type Entry struct {
	// RefName is the image's name in the layout
	// (org.opencontainers.image.ref.name), and Name its full one
	// (io.containerd.image.name). Either may be empty. Manifests of a nested
	// index have the names of that index.
	RefName, Name string
	// Descriptor is the manifest's.
	Descriptor v1.Descriptor
}

// Entries lists the layout's images in order, those of nested indexes
// included, and attestations about other images left out.
func (l *Layout) Entries() ([]Entry, error) {
	entries, err := l.entries(nil, l.index, Entry{}, 0)
	if err != nil {
		return nil, l.wrap(err)
	}
	return entries, nil
}

func (l *Layout) entries(list []Entry, descs []v1.Descriptor, above Entry, depth int) ([]Entry, error) {
	for _, d := range descs {
		e := above
		e.Descriptor = d
		if depth == 0 {
			e.RefName, e.Name = d.Annotations[v1.AnnotationRefName], d.Annotations[annotationName]
		}
		switch {
		case ocijson.IsAttestation(d):
			continue
		case ocijson.IsManifest(d.MediaType):
			if list = append(list, e); len(list) > ocijson.MaxDescriptors {
				return nil, fmt.Errorf("more than %d images", ocijson.MaxDescriptors)
			}
		case ocijson.IsIndex(d.MediaType):
			if depth == ocijson.MaxNesting {
				return nil, fmt.Errorf("index %s: nested deeper than %d levels", d.Digest, ocijson.MaxNesting)
			}
			data, err := l.document(d)
			if err != nil {
				return nil, err
			}
			_, nested, err := ocijson.ParseIndex(data)
			if err != nil {
				return nil, fmt.Errorf("index %s: %w", d.Digest, err)
			}
			if list, err = l.entries(list, nested, e, depth+1); err != nil {
				return nil, err
			}
		}
	}
	return list, nil
}

// Image reads the manifest and the config of an entry and checks that they
// belong together.
func (l *Layout) Image(e Entry) (*image.Existing, error) {
	img, err := l.image(e)
	if err != nil {
		return nil, l.wrap(err)
	}
	return img, nil
}

func (l *Layout) image(e Entry) (*image.Existing, error) {
	img := &image.Existing{ManifestDescriptor: e.Descriptor}
	for _, name := range []string{e.Name, e.RefName} {
		if name != "" {
			img.Names = append(img.Names, name)
		}
	}
	var err error
	if img.Manifest, err = l.document(e.Descriptor); err != nil {
		return nil, err
	}
	config, layers, err := ocijson.ParseManifest(img.Manifest)
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", e.Descriptor.Digest, err)
	}
	if img.ConfigJSON, err = l.document(config); err != nil {
		return nil, err
	}
	if img.Config, img.DiffIDs, err = image.ParseConfig(img.ConfigJSON); err != nil {
		return nil, fmt.Errorf("config %s: %w", config.Digest, err)
	}
	if len(img.DiffIDs) != len(layers) {
		return nil, fmt.Errorf("config %s has %d diff_ids, manifest %s has %d layers", config.Digest, len(img.DiffIDs), e.Descriptor.Digest, len(layers))
	}
	for i, d := range layers {
		img.Layers = append(img.Layers, &layer.Blob{
			Name: d.Digest.String(), Descriptor: d, DiffID: img.DiffIDs[i],
			Fetch: func(context.Context) (io.ReadCloser, error) { return fetch(l.files, d) },
		})
	}
	return img, nil
}

// document reads a blob of JSON.
func (l *Layout) document(d v1.Descriptor) ([]byte, error) {
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

// fetch opens a blob that has the size that its descriptor says.
func fetch(f files, d v1.Descriptor) (io.ReadCloser, error) {
	r, size, err := f.open(blobPath(d.Digest))
	if err != nil {
		return nil, err
	}
	if size != d.Size {
		r.Close()
		return nil, fmt.Errorf("blob %s has %d bytes, %d are expected", d.Digest, size, d.Size)
	}
	return r, nil
}
