package dockerarchive

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/tarindex"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// maxJSON limits a manifest and a config, in bytes.
const maxJSON = 8 << 20

// ErrNoManifest is the error of Open for a tar that is not a docker-archive.
var ErrNoManifest = errors.New("it has no manifest.json")

// Archive is an open archive with its index.
type Archive struct {
	name   string
	tar    *tarindex.Archive
	raw    []byte // manifest.json
	images []manifest
}

// manifest is an element of manifest.json.
type manifest struct {
	config   string
	repoTags []string
	layers   []string
}

// Open opens the archive in a file, plain or compressed, and reads its index. A
// compressed one is unpacked to a temporary file without a name in tempDir,
// which defaults to the system's directory for such files.
func Open(ctx context.Context, name, tempDir string) (*Archive, error) {
	t, err := tarindex.Open(ctx, name, tarindex.Options{TempDir: tempDir})
	return opened(name, t, err)
}

// Read reads an archive from a stream, such as standard input or an engine's
// answer, to its end, and keeps it unpacked in a temporary file without a name
// in tempDir. The archive is called name in messages.
func Read(ctx context.Context, name string, r io.Reader, tempDir string) (*Archive, error) {
	t, err := tarindex.Read(ctx, r, tarindex.Options{TempDir: tempDir})
	return opened(name, t, err)
}

// opened reads the index of an archive, unless err is set.
func opened(name string, t *tarindex.Archive, err error) (*Archive, error) {
	if err != nil {
		return nil, wrap(name, err)
	}
	a, err := FromTar(name, t)
	if err != nil {
		t.Close()
	}
	return a, err
}

// FromTar reads the index of an open archive, which Close closes.
func FromTar(name string, t *tarindex.Archive) (*Archive, error) {
	a := &Archive{name: name, tar: t}
	var err error
	if a.images, err = a.manifests(); err != nil {
		return nil, wrap(name, err)
	}
	return a, nil
}

func wrap(name string, err error) error { return fmt.Errorf("read docker-archive %q: %w", name, err) }

// Close closes the archive. Its layers cannot be read any more.
func (a *Archive) Close() error { return a.tar.Close() }

func (a *Archive) manifests() ([]manifest, error) {
	if !a.tar.Has("manifest.json") {
		return nil, ErrNoManifest
	}
	var err error
	if a.raw, err = a.tar.Read("manifest.json", maxJSON); err != nil {
		return nil, err
	}
	return parseManifest(a.raw)
}

// String names the archive in messages.
func (a *Archive) String() string { return fmt.Sprintf("docker-archive %q", a.name) }

// List returns the archive's images, as manifest.json lists them.
func (a *Archive) List() []image.Listed {
	list := make([]image.Listed, len(a.images))
	for i, m := range a.images {
		list[i] = image.Listed{Names: m.repoTags, ID: fmt.Sprintf("%q %q", m.config, m.layers)}
	}
	return list
}

// Open returns the image at an index of List. Its config's digests are checked
// when the layers are read.
func (a *Archive) Open(_ context.Context, i int) (*image.Stored, error) {
	img, err := a.image(a.images[i])
	if err != nil {
		return nil, wrap(a.name, err)
	}
	return img, nil
}

func (a *Archive) image(m manifest) (*image.Stored, error) {
	config, err := a.config(m.config)
	if err != nil {
		return nil, err
	}
	_, diffIDs, err := image.ParseConfig(config)
	if err != nil {
		return nil, fmt.Errorf("config %q: %w", m.config, err)
	}
	if len(diffIDs) != len(m.layers) {
		return nil, fmt.Errorf("config %q has %d diff_ids for %d layers", m.config, len(diffIDs), len(m.layers))
	}
	layers := make([]image.StoredLayer, len(m.layers))
	for i, name := range m.layers {
		if layers[i], err = a.layer(name, diffIDs[i]); err != nil {
			return nil, err
		}
	}
	img, err := image.NewStored(config, layers)
	if err != nil {
		return nil, fmt.Errorf("config %q: %w", m.config, err)
	}
	img.Raw = a.raw
	return img, nil
}

// config reads a config. If it is a blob, its digest has to be the one in its
// name.
func (a *Archive) config(name string) ([]byte, error) {
	data, err := a.tar.Read(name, maxJSON)
	if err != nil {
		return nil, err
	}
	want, ok := blobDigest(name)
	if got := digest.FromBytes(data); ok && got != want {
		return nil, &layer.DigestError{What: fmt.Sprintf("config %q", name), Want: want, Got: got}
	}
	return data, nil
}

// blobDir is where Docker since version 25 keeps layers and configs: its
// archives are OCI layouts too (OCI image-spec, image-layout.md).
const blobDir = "blobs/sha256/"

// blobDigest returns the digest in a member's name, if it is a blob of an OCI
// layout.
func blobDigest(name string) (digest.Digest, bool) {
	text, ok := strings.CutPrefix(path.Clean(name), blobDir)
	if !ok {
		return "", false
	}
	d, err := digest.Parse("sha256:" + text)
	return d, err == nil
}

// Layer is a layer of an image in an archive.
type Layer struct {
	layer.Blob
	header *tar.Header
}

func (a *Archive) layer(name string, id digest.Digest) (*Layer, error) {
	m, err := a.tar.Member(name)
	if err != nil {
		return nil, err
	}
	l := &Layer{header: m.Header}
	l.Name, l.DiffID = name, id
	l.Fetch = func(context.Context) (io.ReadCloser, error) { return io.NopCloser(m.Open()), nil }
	if file, at := m.File(); file != nil {
		l.Section = &layer.Section{File: file, Stamp: at, Size: m.Header.Size}
	}
	if d, ok := blobDigest(name); ok {
		l.Descriptor, err = describe(m, d)
	}
	return l, err
}

// describe returns the descriptor of a layer that is a blob. Its first bytes say
// how it is compressed. A layer for which manifests have no media type gets no
// descriptor.
func describe(m *tarindex.Member, d digest.Digest) (v1.Descriptor, error) {
	r, algorithm, err := compress.NewReader(m.Open())
	if err != nil {
		return v1.Descriptor{}, fmt.Errorf("blob %s: %w", d, err)
	}
	r.Close()
	if !algorithm.Writable() {
		return v1.Descriptor{}, nil
	}
	return v1.Descriptor{MediaType: compress.Compression{Algorithm: algorithm}.MediaType(), Digest: d, Size: m.Header.Size}, nil
}

// Member returns the header that the layer has in its archive and keeps in
// another. A compressed blob loses its name, because it is not compressed in the
// other.
func (l *Layer) Member() *tree.Entry {
	h := l.header
	if l.Descriptor.Digest != "" && l.Descriptor.Digest != l.DiffID {
		return &tree.Entry{Mode: uint32(h.Mode) & 0o7777}
	}
	// The name under which readers find it: whatever "./" or ".." the header has.
	return &tree.Entry{
		Path: path.Clean(h.Name), Mode: uint32(h.Mode) & 0o7777, UID: uint32(h.Uid), GID: uint32(h.Gid),
		Uname: h.Uname, Gname: h.Gname, ModTime: h.ModTime.Unix(),
	}
}
