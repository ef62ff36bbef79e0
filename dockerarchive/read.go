package dockerarchive

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/ctxio"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

const (
	// maxJSON bounds a manifest and a config, in bytes.
	maxJSON = 8 << 20
	// maxMembers bounds an archive's members.
	maxMembers = 100_000
	// maxLinks bounds a chain of members that are links.
	maxLinks = 10
)

// ErrNoManifest is the error of Open for a tar that is no docker-archive.
var ErrNoManifest = errors.New("it has no manifest.json")

// Archive is an open archive with its index.
type Archive struct {
	name    string
	file    *os.File
	members map[string]*archived
	images  []manifest
}

// archived is a member: its header and the place of its content.
type archived struct {
	header *tar.Header
	offset int64
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
	f, err := openRegular(name)
	if err != nil {
		return nil, err
	}
	a := &Archive{name: name, file: f, members: map[string]*archived{}}
	if err := a.index(ctx, tempDir); err != nil {
		a.Close()
		return nil, fmt.Errorf("read docker-archive %q: %w", name, err)
	}
	return a, nil
}

// Close closes the archive. Its layers cannot be read any more.
func (a *Archive) Close() error { return a.file.Close() }

// openRegular opens a file without waiting for what is none.
func openRegular(name string) (*os.File, error) {
	st, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%q is not a regular file", name)
	}
	return os.Open(name)
}

func (a *Archive) index(ctx context.Context, tempDir string) error {
	if err := a.decompress(ctx, tempDir); err != nil {
		return err
	}
	if err := a.readMembers(ctx); err != nil {
		return err
	}
	if a.members["manifest.json"] == nil {
		return ErrNoManifest
	}
	data, err := a.readJSON("manifest.json")
	if err != nil {
		return err
	}
	a.images, err = parseManifest(data)
	return err
}

// decompress puts the unpacked archive in the place of a compressed one.
func (a *Archive) decompress(ctx context.Context, tempDir string) error {
	r, algorithm, err := layer.NewReader(a.file)
	if err != nil {
		return err
	}
	defer r.Close()
	if algorithm != layer.None {
		temp, err := os.CreateTemp(tempDir, "varve-archive-")
		if err != nil {
			return err
		}
		os.Remove(temp.Name())
		packed := a.file
		a.file = temp
		defer packed.Close()
		if _, err := io.Copy(temp, ctxio.Reader(ctx, r)); err != nil {
			return err
		}
	}
	_, err = a.file.Seek(0, io.SeekStart)
	return err
}

func (a *Archive) readMembers(ctx context.Context) error {
	r := tar.NewReader(a.file)
	for n := 0; ; n++ {
		h, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		if n == maxMembers {
			return fmt.Errorf("more than %d members", maxMembers)
		}
		name := path.Clean(h.Name)
		if _, twice := a.members[name]; twice && name == "manifest.json" {
			return errors.New("two members are called manifest.json")
		}
		offset, err := a.file.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		a.members[name] = &archived{header: h, offset: offset}
	}
}

// member finds a regular member. Links among the members are followed; a name
// that leads out of the archive is an error.
func (a *Archive) member(name string) (*archived, error) {
	at := name
	for range maxLinks {
		if at = path.Clean(at); path.IsAbs(at) || at == ".." || strings.HasPrefix(at, "../") {
			return nil, fmt.Errorf("member %q leads out of the archive", name)
		}
		m := a.members[at]
		if m == nil {
			return nil, fmt.Errorf("member %q is missing", name)
		}
		switch m.header.Typeflag {
		case tar.TypeReg:
			return m, nil
		case tar.TypeSymlink:
			at = path.Join(path.Dir(at), m.header.Linkname)
			if path.IsAbs(m.header.Linkname) {
				at = m.header.Linkname
			}
		case tar.TypeLink:
			at = m.header.Linkname
		default:
			return nil, fmt.Errorf("member %q is not a regular file", name)
		}
	}
	return nil, fmt.Errorf("member %q: too many links", name)
}

func (a *Archive) open(m *archived) io.Reader {
	return io.NewSectionReader(a.file, m.offset, m.header.Size)
}

func (a *Archive) readJSON(name string) ([]byte, error) {
	m, err := a.member(name)
	if err != nil {
		return nil, err
	}
	if m.header.Size > maxJSON {
		return nil, fmt.Errorf("member %q has %d bytes: more than %d", name, m.header.Size, maxJSON)
	}
	return io.ReadAll(a.open(m))
}

// Images returns the number of images in the archive.
func (a *Archive) Images() int { return len(a.images) }

// Image returns the image with the number i, from 0, as manifest.json lists
// them. Its config's digests are checked when the layers are read.
func (a *Archive) Image(i int) (*image.Base, error) {
	m := a.images[i]
	img, err := a.image(m)
	if err != nil {
		return nil, fmt.Errorf("read docker-archive %q: %w", a.name, err)
	}
	return img, nil
}

func (a *Archive) image(m manifest) (*image.Base, error) {
	config, err := a.readJSON(m.config)
	if err != nil {
		return nil, err
	}
	object, diffIDs, err := parseConfig(config)
	if err != nil {
		return nil, fmt.Errorf("config %q: %w", m.config, err)
	}
	if len(diffIDs) != len(m.layers) {
		return nil, fmt.Errorf("config %q has %d diff_ids for %d layers", m.config, len(diffIDs), len(m.layers))
	}
	img := &image.Base{RepoTags: m.repoTags, ConfigJSON: config, Config: object}
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
	layer.Stored
	header *tar.Header
}

func (a *Archive) layer(name string, id digest.Digest) (*Layer, error) {
	m, err := a.member(name)
	if err != nil {
		return nil, err
	}
	l := &Layer{header: m.header}
	l.Name, l.DiffID = name, id
	l.Open = func() (io.ReadCloser, error) { return io.NopCloser(a.open(m)), nil }
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
