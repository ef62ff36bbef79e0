package engine

import (
	"context"
	"errors"
	"io"
	"math"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/image"
)

// Kind is a kind of archive.
type Kind int

const (
	// DockerArchive is a docker-archive.
	DockerArchive Kind = iota
	// Hybrid is a docker-archive and an OCI layout in one.
	Hybrid
	// OCI is the archive of an OCI layout. Its layers are compressed as a registry gets them, where
	// that is known of a layer, so that the manifest is the one that a push gives.
	OCI
)

// Form says how an image is written.
type Form struct {
	Kind Kind
	// Nameless leaves out the image's names.
	Nameless bool
	// Omit, where it is set, reports whether a layer is left out, though the archive lists it. It is
	// given its diffID and the digest that it has in the archive.
	Omit func(diffID, blob digest.Digest) bool
}

// WriteFunc writes an archive of an image to w, which is not compressed: not every engine reads
// others. It returns the digest of an OCI archive's manifest, and has to end soon after ctx is done.
type WriteFunc func(ctx context.Context, w io.Writer, form Form) (manifest digest.Digest, err error)

// Archive writes an image for engines.
type Archive struct {
	Write WriteFunc
	// Describe returns what an OCI archive of the image lists. It is nil for an Archive that writes
	// none.
	Describe func(ctx context.Context) (Description, error)
}

// Description is what an OCI archive lists: digests of the manifest, or the index, and of the layers,
// the lowest first; of an index, those of each of its images in turn.
type Description struct {
	Manifest digest.Digest
	Layers   []digest.Digest
}

// Image is an image, or an index with its images, on its way into an engine.
type Image struct {
	// Names are its names, each with a tag; there may be none.
	Names []string
	// ID is the digest of its config; "" for an index.
	ID digest.Digest
	// Index says that it is an index.
	Index bool

	layers    []size // of an index, those of all its images
	archive   Archive
	described *Description
	// manifest is the digest of the manifest in the OCI archive that was written last.
	manifest digest.Digest
}

// size is a layer with the least that it takes in an archive, in bytes.
type size struct {
	diffID digest.Digest
	bytes  int64
}

// minSpared is how much has to be left out of an archive for the engine to be asked what it has, in
// bytes: it takes as long to ask it.
const minSpared = 1 << 20

// newImage finds out what is known of an image without reading its layers.
func newImage(ctx context.Context, img image.Named, archive Archive) (*Image, error) {
	names, err := img.Tagged(ctx)
	if err != nil {
		return nil, err
	}
	i := &Image{Names: names.RepoTags, archive: archive}
	for _, name := range i.Names {
		if err := checkName(name); err != nil {
			return i, err
		}
	}
	if i.ID, err = image.ID(ctx, img); err != nil {
		return i, err
	}
	return i, i.addLayers(ctx, img)
}

// newIndex does so for an index.
func newIndex(ctx context.Context, x *image.Index, archive Archive) (*Image, error) {
	names, err := x.Tagged(ctx)
	if err != nil {
		return nil, err
	}
	i := &Image{Names: names.RepoTags, Index: true, archive: archive}
	for _, name := range i.Names {
		if err := checkName(name); err != nil {
			return i, err
		}
	}
	for _, img := range x.Images {
		if err := i.addLayers(ctx, img); err != nil {
			return i, err
		}
	}
	return i, nil
}

func (i *Image) addLayers(ctx context.Context, img image.Image) error {
	for _, l := range img.Layers() {
		s, err := sizeOf(ctx, l)
		if err != nil {
			return err
		}
		i.layers = append(i.layers, s)
	}
	return nil
}

// errIndex is the error of an engine that keeps images for one platform each.
var errIndex = errors.New("it keeps images for one platform each: choose one with --platform")

// sizeOf returns how much a layer takes. One that would have to be read to know it counts as
// large: that it need not be read is worth a question.
func sizeOf(ctx context.Context, l image.Layer) (size, error) {
	stored, isStored := l.(image.StoredLayer)
	if isStored && stored.Stored().Digest != "" {
		return size{stored.TarDigest(), stored.Stored().Size}, nil
	}
	if once, ok := l.(image.OnceLayer); ok && isStored && once.Unread() {
		return size{stored.TarDigest(), math.MaxInt32}, nil
	}
	info, err := l.Info(ctx)
	return size{info.DiffID, info.Size}, err
}

// description returns what an OCI archive of the image lists.
func (i *Image) description(ctx context.Context) (Description, error) {
	if i.described == nil {
		if i.archive.Describe == nil {
			return Description{}, errors.New("it takes OCI archives only, and none can be made")
		}
		d, err := i.archive.Describe(ctx)
		if err != nil {
			return d, err
		}
		i.described = &d
	}
	return *i.described, nil
}

// write returns the function that writes the image in a form.
func (i *Image) write(form Form) writeFunc {
	return func(ctx context.Context, w io.Writer) error {
		manifest, err := i.archive.Write(ctx, w, form)
		i.manifest = manifest
		return err
	}
}

// writeFunc is a WriteFunc that knows the form.
type writeFunc func(ctx context.Context, w io.Writer) error

// bytes returns how much the layers take of which is reports that they are wanted, by number.
func (i *Image) bytes(is func(n int) bool) (sum int64) {
	for n, l := range i.layers {
		if is(n) {
			sum += l.bytes
		}
	}
	return sum
}

// all returns how much all layers take.
func (i *Image) all() int64 { return i.bytes(func(int) bool { return true }) }

// sparingly sends the image without the layers of which has reports, by their number, that the
// engine has them. If the engine refuses that, because it has lost them since, or if it spares
// little, the image is sent whole.
func (i *Image) sparingly(ctx context.Context, form Form, has func(n int) bool, send func(context.Context, Form) ([]string, error)) ([]string, error) {
	if i.bytes(has) <= minSpared {
		return send(ctx, form)
	}
	diffIDs, blobs := map[digest.Digest]bool{}, map[digest.Digest]bool{}
	for n, l := range i.layers {
		if !has(n) {
			continue
		}
		diffIDs[l.diffID] = true
		if form.Kind == OCI {
			blobs[i.described.Layers[n]] = true
		}
	}
	for n, l := range i.layers { // one that occurs again is left out at all its places
		if !has(n) {
			delete(diffIDs, l.diffID)
		}
	}
	whole := form
	form.Omit = func(diffID, blob digest.Digest) bool {
		return diffIDs[diffID] && (form.Kind != OCI || blobs[blob])
	}
	said, err := send(ctx, form)
	if refused(err) {
		return send(ctx, whole)
	}
	return said, err
}

// refusal is what an engine says of a load that it has not done.
type refusal struct{ error }

func (r *refusal) Unwrap() error { return r.error }

// refused reports whether an engine has refused what it was sent, for a reason that another archive
// may not have. A disk stays full.
func refused(err error) bool {
	var (
		said   *refusal
		status *apiError
		exit   *exitError
	)
	if errors.As(err, &said) || errors.As(err, &status) || errors.As(err, &exit) {
		return !strings.Contains(err.Error(), "no space left on device")
	}
	return false
}
