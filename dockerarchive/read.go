package dockerarchive

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/tarindex"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// maxJSON bounds a manifest and a config, in bytes.
const maxJSON = 8 << 20

// ErrNoManifest is the error of Open for a tar that is no docker-archive.
var ErrNoManifest = errors.New("it has no manifest.json")

// Archive is an open archive with its index.
type Archive struct {
	name   string
	tar    *tarindex.Archive
	images []manifest
}

// manifest is an element of manifest.json.
type manifest struct {
	config   string
	repoTags []string
	layers   []string
}

// Open opens the archive in a file, plain or compressed with gzip or zstd,
// and reads its index. A compressed one is unpacked to a temporary file in
// tempDir that has no name (empty: the system's place for such files).
func Open(ctx context.Context, name, tempDir string) (*Archive, error) {
	t, err := tarindex.Open(ctx, name, tempDir)
	if err != nil {
		return nil, fmt.Errorf("read docker-archive %q: %w", name, err)
	}
	a := &Archive{name: name, tar: t}
	if a.images, err = a.manifests(); err != nil {
		t.Close()
		return nil, fmt.Errorf("read docker-archive %q: %w", name, err)
	}
	return a, nil
}

// Close closes the archive. Its layers cannot be read any more.
func (a *Archive) Close() error { return a.tar.Close() }

func (a *Archive) manifests() ([]manifest, error) {
	if !a.tar.Has("manifest.json") {
		return nil, ErrNoManifest
	}
	data, err := a.tar.Read("manifest.json", maxJSON)
	if err != nil {
		return nil, err
	}
	return parseManifest(data)
}

// Images returns the number of images in the archive.
func (a *Archive) Images() int { return len(a.images) }

// Image returns the image with the number i, from 0, as manifest.json lists
// them. Its config's digests are checked when the layers are read.
func (a *Archive) Image(i int) (*image.Existing, error) {
	m := a.images[i]
	img, err := a.image(m)
	if err != nil {
		return nil, fmt.Errorf("read docker-archive %q: %w", a.name, err)
	}
	return img, nil
}

func (a *Archive) image(m manifest) (*image.Existing, error) {
	config, err := a.tar.Read(m.config, maxJSON)
	if err != nil {
		return nil, err
	}
	object, diffIDs, err := image.ParseConfig(config)
	if err != nil {
		return nil, fmt.Errorf("config %q: %w", m.config, err)
	}
	if len(diffIDs) != len(m.layers) {
		return nil, fmt.Errorf("config %q has %d diff_ids for %d layers", m.config, len(diffIDs), len(m.layers))
	}
	img := &image.Existing{Names: m.repoTags, ConfigJSON: config, Config: object, DiffIDs: diffIDs}
	for i, name := range m.layers {
		l, err := a.layer(name, diffIDs[i])
		if err != nil {
			return nil, err
		}
		img.Layers = append(img.Layers, l)
	}
	return img, nil
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
	return l, nil
}

// Member is the header that the layer has in its archive and keeps in another.
func (l *Layer) Member() *tree.Entry {
	h := l.header
	return &tree.Entry{
		Path: h.Name, Mode: uint32(h.Mode) & 0o7777, UID: uint32(h.Uid), GID: uint32(h.Gid),
		Uname: h.Uname, Gname: h.Gname, ModTime: h.ModTime.Unix(),
	}
}
