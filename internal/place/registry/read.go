package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/layer"
)

// maxIndexes limits how many indexes may be nested in one: each is a request.
const maxIndexes = 100

// Open opens the image that ref names; of an index, the one for
// Options.Platform. Its layers are fetched when they are read.
func Open(ctx context.Context, ref string, opts Options) (*image.Stored, error) {
	r, err := Resolve(ctx, ref, opts)
	if err != nil {
		return nil, err
	}
	d, err := r.Choose(ctx, opts.Platform)
	if err != nil {
		return nil, err
	}
	return r.Image(ctx, d)
}

// Resolved describes what a reference stands for.
type Resolved struct {
	// Name is the repository with its registry, Tag the reference's tag; both in
	// Docker's form.
	Name, Tag string
	// Raw is the index or the manifest that was found, byte for byte, and
	// Descriptor its descriptor.
	Raw        []byte
	Descriptor v1.Descriptor
	// Manifests are the images in an index, including those of nested indexes
	// but not attestations; otherwise the one image.
	Manifests []v1.Descriptor

	*Blobs
	// documents are the indexes and manifests that were fetched, by digest.
	documents map[digest.Digest][]byte
}

// Resolve looks up what ref names: a digest, or a tag as it is now.
func Resolve(ctx context.Context, ref string, opts Options) (*Resolved, error) {
	parsed, err := parseReference(ref)
	if err != nil {
		return nil, err
	}
	r, err := resolve(ctx, parsed, opts)
	if err != nil {
		return nil, fmt.Errorf("read image %q: %w", ref, err)
	}
	return r, nil
}

func resolve(ctx context.Context, ref reference, opts Options) (*Resolved, error) {
	c, err := newClient(ctx, ref, opts, "pull", nil)
	if err != nil {
		return nil, err
	}
	r := &Resolved{Name: ref.name(), Tag: ref.tag, Blobs: &Blobs{c}, documents: map[digest.Digest][]byte{}}
	want := v1.Descriptor{Digest: ref.digest, Size: -1}
	if r.Raw, r.Descriptor, err = c.manifest(ctx, ref.target(), want); err != nil {
		return nil, err
	}
	r.documents[r.Descriptor.Digest] = r.Raw
	if !ocijson.IsIndex(r.Descriptor.MediaType) {
		r.Manifests = []v1.Descriptor{r.Descriptor}
		return r, nil
	}
	return r, r.list(ctx, r.Raw, r.Descriptor)
}

// list sets Manifests to the images of an index. Nested indexes are fetched.
func (r *Resolved) list(ctx context.Context, data []byte, index v1.Descriptor) error {
	_, children, err := ocijson.ParseIndex(data)
	if err != nil {
		return fmt.Errorf("index %s: %w", index.Digest, err)
	}
	images, err := ocijson.Images(children, func(d v1.Descriptor) ([]byte, error) {
		if len(r.documents) > maxIndexes {
			return nil, fmt.Errorf("index %s: more than %d indexes are nested in one", d.Digest, maxIndexes)
		}
		return r.Document(ctx, d)
	})
	if err != nil {
		return fmt.Errorf("index %s: %w", index.Digest, err)
	}
	images = slices.DeleteFunc(images, func(i ocijson.Listed) bool { return ocijson.IsArtifact(i.Descriptor) })
	r.Manifests = ocijson.Distinct(images)
	return nil
}

// Document returns an index, a manifest or a config. See image.Blobs.
func (r *Resolved) Document(ctx context.Context, d v1.Descriptor) ([]byte, error) {
	if data, ok := r.documents[d.Digest]; ok {
		return data, nil
	}
	data, err := r.Blobs.Document(ctx, d)
	if err == nil && ocijson.IsIndex(d.MediaType) {
		r.documents[d.Digest] = data
	}
	return data, err
}

// Choose returns the image for a platform, as image.Select does. If the
// reference is not an index, or the platform is empty, it returns the only
// image.
func (r *Resolved) Choose(ctx context.Context, p v1.Platform) (v1.Descriptor, error) {
	i, err := image.Select(ctx, r, "", p)
	if err != nil {
		return v1.Descriptor{}, err
	}
	return r.Manifests[i], nil
}

// Image opens one of the images in Manifests.
func (r *Resolved) Image(ctx context.Context, d v1.Descriptor) (*image.Stored, error) {
	img, err := r.image(ctx, d)
	if err != nil {
		return nil, fmt.Errorf("read image %q: %w", r.client.ref, err)
	}
	return img, nil
}

func (r *Resolved) image(ctx context.Context, d v1.Descriptor) (*image.Stored, error) {
	return image.Open(ctx, d, r, r.Name)
}

// manifestTypes are the media types that manifests are requested with.
var manifestTypes = []string{
	v1.MediaTypeImageIndex, v1.MediaTypeImageManifest, ocijson.DockerList, ocijson.DockerManifest,
}

// manifest fetches an index or a manifest. It is checked against want: its
// digest unless that is empty, its size unless that is negative.
func (c *client) manifest(ctx context.Context, target string, want v1.Descriptor) ([]byte, v1.Descriptor, error) {
	if want.Size > ocijson.MaxSize {
		return nil, want, fmt.Errorf("manifest %s is said to have %d bytes, more than %d", want.Digest, want.Size, ocijson.MaxSize)
	}
	r := request{method: http.MethodGet, url: c.repositoryURL("manifests/" + target), header: http.Header{"Accept": manifestTypes}}
	for try := 0; ; try++ {
		data, got, err := c.tryManifest(ctx, r, want)
		if err == nil || try >= c.opts.retries() || !c.transient(ctx, err) {
			return data, got, err
		}
		if err := c.opts.sleep(ctx, backoff(try, err)); err != nil {
			return nil, got, err
		}
	}
}

func (c *client) tryManifest(ctx context.Context, r request, want v1.Descriptor) ([]byte, v1.Descriptor, error) {
	resp, err := c.expect(ctx, r, http.StatusOK)
	var status *statusError
	if errors.As(err, &status) && status.status == http.StatusNotFound {
		err = &NotFoundError{err}
	}
	if err != nil {
		return nil, want, err
	}
	defer resp.Body.Close()
	if contentType := resp.Header.Get("Content-Type"); isHTML(contentType) {
		return nil, want, fmt.Errorf("%s: the answer is a page for a browser: is %s a registry, or is there a proxy that wants a login?", c.describe(r), c.ref.host)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, ocijson.MaxSize+1))
	if err != nil {
		return nil, want, err
	}
	if len(data) > ocijson.MaxSize {
		return nil, want, fmt.Errorf("%s: the manifest has more than %d bytes", c.describe(r), ocijson.MaxSize)
	}
	got, err := checkManifest(data, resp.Header, want)
	if err != nil {
		err = fmt.Errorf("%s: %w", c.describe(r), err)
	}
	return data, got, err
}

// checkManifest compares a manifest with what was asked for and with the
// answer's header, and describes it.
func checkManifest(data []byte, header http.Header, want v1.Descriptor) (v1.Descriptor, error) {
	got := want
	got.Size = int64(len(data))
	if got.Digest == "" {
		got.Digest = digest.FromBytes(data)
	}
	if sum := got.Digest.Algorithm().FromBytes(data); sum != got.Digest {
		return got, &layer.DigestError{What: "manifest", Want: got.Digest, Got: sum}
	}
	if want.Size >= 0 && want.Size != got.Size {
		return got, fmt.Errorf("manifest %s has %d bytes, %d are expected", got.Digest, got.Size, want.Size)
	}
	if err := checkStated(data, header.Get("Docker-Content-Digest")); err != nil {
		return got, err
	}
	contentType, _, _ := mime.ParseMediaType(header.Get("Content-Type")) // garbage is not a known type
	if contentType == ocijson.DockerSchema1 || contentType == ocijson.DockerSchema1Signed {
		return got, ocijson.ErrSchema1
	}
	var err error
	if got.MediaType, err = ocijson.MediaType(data); err != nil {
		return got, fmt.Errorf("manifest: %w", err)
	}
	if !ocijson.IsIndex(got.MediaType) && !ocijson.IsManifest(got.MediaType) {
		return got, fmt.Errorf("manifest: it is of type %q, not an image's", got.MediaType)
	}
	for _, said := range []string{contentType, want.MediaType} {
		if known := slices.Contains(manifestTypes, said); known && said != got.MediaType {
			return got, fmt.Errorf("manifest %s is of type %q, but was announced as %q", got.Digest, got.MediaType, said)
		}
	}
	return got, nil
}

// checkStated compares a manifest with the digest that a registry states, if
// any.
func checkStated(data []byte, text string) error {
	if text == "" {
		return nil
	}
	stated, err := ocijson.ParseDigest(text)
	if err != nil {
		return fmt.Errorf("the registry's Docker-Content-Digest: %w", err)
	}
	if sum := stated.Algorithm().FromBytes(data); sum != stated {
		return &layer.DigestError{What: "manifest, by the registry's Docker-Content-Digest", Want: stated, Got: sum}
	}
	return nil
}

// errForeign is the error of reading a layer that is kept elsewhere.
var errForeign = errors.New("the layer is kept outside of the registry (it has urls), from where it is not fetched")
