package registry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/ctxio"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/layer"
)

// Push writes an image to the repository of ref and gives it ref's tag; with a
// digest in place of a tag the manifest has to have that. It returns the
// manifest's descriptor, with the platform.
//
// Layers that are stored somewhere go there byte for byte, if they are not
// there already; the registry takes those that another of its repositories
// has from there. All others are compressed on their way. The manifest is kept
// where nothing changed; otherwise it is an OCI one. It is sent last.
func Push(ctx context.Context, ref string, img *image.Image, opts PushOptions) (v1.Descriptor, error) {
	opts.MountFrom = origins(ref, img, opts.MountFrom)
	p, err := newPusher(ctx, ref, opts)
	if err != nil {
		return v1.Descriptor{}, fmt.Errorf("push image %q: %w", ref, err)
	}
	defer p.client.policy.closeIdle()
	desc, err := p.image(ctx, img)
	if err != nil {
		return v1.Descriptor{}, fmt.Errorf("push image %q: %w", ref, err)
	}
	return desc, nil
}

// origins adds to the repositories to mount from those that the image's layers
// come from, of the registry that ref is in.
func origins(ref string, img *image.Image, from []string) []string {
	to, err := parseReference(ref)
	if err != nil {
		return from // whoever connects will say so
	}
	from = slices.Clone(from)
	for _, l := range img.Layers {
		repository, ok := origin(l, to)
		if ok && repository != to.repository && !slices.Contains(from, repository) {
			from = append(from, repository)
		}
	}
	return from
}

// origin is the repository that a layer comes from, if it is one of the registry
// that to is in.
func origin(l image.Layer, to reference) (string, bool) {
	b, ok := l.(*layer.Blob)
	if !ok {
		return "", false
	}
	return strings.CutPrefix(b.Repository, to.domain+"/")
}

// pusher writes into one repository.
type pusher struct {
	client *client
	opts   PushOptions

	mu        sync.Mutex // of jobs, and held while observers are told
	jobs      map[digest.Digest]*job
	total     int
	observing sync.Mutex
}

// job is a blob on its way. An image may have it more than once.
type job struct {
	once sync.Once
	desc v1.Descriptor
	err  error
}

func newPusher(ctx context.Context, ref string, opts PushOptions) (*pusher, error) {
	parsed, err := parseReference(ref)
	if err != nil {
		return nil, err
	}
	if err := opts.Compression.Check(); err != nil {
		return nil, err
	}
	c, err := newClient(ctx, parsed, opts.Options, "pull,push", opts.MountFrom)
	if err != nil {
		return nil, err
	}
	return &pusher{client: c, opts: opts, jobs: map[digest.Digest]*job{}}, nil
}

func (p *pusher) image(ctx context.Context, img *image.Image) (v1.Descriptor, error) {
	layers, err := p.layers(ctx, img)
	if err != nil {
		return v1.Descriptor{}, err
	}
	config, err := img.ConfigJSON(ctx)
	if err != nil {
		return v1.Descriptor{}, err
	}
	manifest, config, err := p.describe(img, config, layers)
	if err != nil {
		return v1.Descriptor{}, err
	}
	if err := p.blob(ctx, config, img.ConfigDigest(config)); err != nil {
		return v1.Descriptor{}, fmt.Errorf("config: %w", err)
	}
	target := p.client.ref
	if p.opts.Untagged {
		target.tag, target.digest = "", manifest.desc.Digest
	}
	if err := p.manifest(ctx, target, manifest); err != nil {
		return v1.Descriptor{}, err
	}
	platform := img.Platform()
	manifest.desc.Platform = &platform
	return manifest.desc, nil
}

// layers brings the image's layers into the repository, some at a time.
func (p *pusher) layers(ctx context.Context, img *image.Image) ([]v1.Descriptor, error) {
	p.total = len(img.Layers)
	descs := make([]v1.Descriptor, len(img.Layers))
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.SetLimit(uploads)
	for i, l := range img.Layers {
		tasks.Go(func() (err error) {
			if stored, ok := p.stored(l); ok {
				descs[i], err = p.pass(ctx, i, stored)
			} else {
				descs[i], err = p.compress(ctx, i, l)
			}
			if err != nil {
				err = fmt.Errorf("layer %d: %w", i+1, err)
			}
			return err
		})
	}
	return descs, tasks.Wait()
}

// stored tells whether a layer goes as it is.
func (p *pusher) stored(l image.Layer) (image.ExistingLayer, bool) {
	e, ok := l.(image.ExistingLayer)
	return e, ok && e.Stored().Digest != "" && (!p.opts.Recompress || len(e.Stored().URLs) > 0)
}

// once does something for a digest, the first time that it comes.
func (p *pusher) once(d digest.Digest, do func() (v1.Descriptor, error)) (v1.Descriptor, error) {
	p.mu.Lock()
	j := p.jobs[d]
	if j == nil {
		j = &job{}
		p.jobs[d] = j
	}
	p.mu.Unlock()
	j.once.Do(func() { j.desc, j.err = do() })
	return j.desc, j.err
}

// pass brings a layer there as it is stored. One that is kept elsewhere, at its
// urls, is only mentioned.
func (p *pusher) pass(ctx context.Context, i int, l image.ExistingLayer) (v1.Descriptor, error) {
	d := l.Stored()
	p.observe(i, l.Title(), d.Size, false)
	_, err := p.once(d.Digest, func() (v1.Descriptor, error) {
		if len(d.URLs) > 0 {
			return d, nil
		}
		from := p.opts.MountFrom
		if own, ok := origin(l, p.client.ref); ok {
			from = []string{own} // a registry begins an upload where another is asked for
		}
		return p.client.put(ctx, blob{d, func(ctx context.Context, w io.Writer) error { return copyStored(ctx, w, l.OpenStored) }}, from)
	})
	if err == nil {
		p.observe(i, l.Title(), d.Size, true)
	}
	return d, err
}

func copyStored(ctx context.Context, w io.Writer, open func(context.Context) (io.ReadCloser, error)) error {
	r, err := open(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.CopyBuffer(w, ctxio.Reader(ctx, r), make([]byte, 1<<20))
	return err
}

// compress compresses a layer on its way. The digest of what comes of it is
// known at the end only, so that a layer of more than a chunk is sent without
// asking whether it is there.
func (p *pusher) compress(ctx context.Context, i int, l image.Layer) (v1.Descriptor, error) {
	info, err := l.Info(ctx)
	if err != nil {
		return v1.Descriptor{}, err
	}
	p.observe(i, l.Title(), info.Size, false)
	desc, err := p.once(info.DiffID, func() (v1.Descriptor, error) {
		b := blob{write: func(ctx context.Context, w io.Writer) error { return p.pack(ctx, w, l, info.DiffID) }}
		d, err := p.client.put(ctx, b, nil)
		d.MediaType = p.opts.Compression.MediaType()
		return d, err
	})
	if err == nil {
		p.observe(i, l.Title(), info.Size, true)
	}
	return desc, err
}

// pack compresses a layer into w. The tar is hashed on its way: the config
// says what it has to be.
func (p *pusher) pack(ctx context.Context, w io.Writer, l image.Layer, want digest.Digest) error {
	z, err := p.opts.Compression.NewWriter(w)
	if err != nil {
		return err
	}
	hash := sha256.New()
	// The struct hides what a layer might use to write past the hash.
	err = l.Write(ctx, struct{ io.Writer }{io.MultiWriter(z, hash)})
	if closeErr := z.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	if got := digest.NewDigest(digest.SHA256, hash); got != want {
		what := fmt.Sprintf("layer of %s, when it was read again", l.Title())
		return &layer.DigestError{What: what, Want: want, Got: got}
	}
	return nil
}

func (p *pusher) observe(i int, title string, size int64, done bool) {
	if p.opts.Observe == nil {
		return
	}
	p.observing.Lock()
	defer p.observing.Unlock()
	p.opts.Observe(image.Event{Layer: i + 1, Layers: p.total, Title: title, Size: size, Done: done})
}

// document is a manifest or an index.
type document struct {
	data []byte
	desc v1.Descriptor
}

func newDocument(data []byte, mediaType string) document {
	return document{data, v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}}
}

// describe returns the manifest that the image has already, if it says the
// same, and otherwise a new one, with the config as that can have it.
func (p *pusher) describe(img *image.Image, config []byte, layers []v1.Descriptor) (document, []byte, error) {
	id := img.ConfigDigest(config)
	if len(img.RawManifest) > 0 && len(img.Annotations) == 0 {
		was, had, err := ocijson.ParseManifest(img.RawManifest)
		if err != nil {
			return document{}, nil, fmt.Errorf("manifest of the image: %w", err)
		}
		same := func(a, b v1.Descriptor) bool { return a.Digest == b.Digest && a.Size == b.Size }
		if was.Digest == id && slices.EqualFunc(had, layers, same) {
			mediaType, err := ocijson.MediaType(img.RawManifest)
			return newDocument(img.RawManifest, mediaType), config, err
		}
	}
	list := make([]v1.Descriptor, len(layers))
	for i, d := range layers {
		list[i] = v1.Descriptor{MediaType: ociLayerType(d.MediaType), Digest: d.Digest, Size: d.Size, URLs: d.URLs, Annotations: d.Annotations}
	}
	config, err := image.OCIConfig(config)
	if err != nil {
		return document{}, nil, err
	}
	data, err := ocijson.Manifest(v1.Descriptor{MediaType: v1.MediaTypeImageConfig, Digest: img.ConfigDigest(config), Size: int64(len(config))}, list, img.Annotations)
	return newDocument(data, v1.MediaTypeImageManifest), config, err
}

// ociLayerType is OCI's name for a layer's media type: the two kinds are not
// mixed in a manifest.
func ociLayerType(mediaType string) string {
	switch mediaType {
	case ocijson.DockerLayer:
		return v1.MediaTypeImageLayer
	case ocijson.DockerLayerGzip:
		return v1.MediaTypeImageLayerGzip
	case ocijson.DockerForeignLayer:
		return "application/vnd.oci.image.layer.nondistributable.v1.tar"
	case ocijson.DockerForeignGzip:
		return "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
	}
	return mediaType
}

// bytes brings a small blob into the repository.
func (p *pusher) bytes(ctx context.Context, data []byte) error {
	return p.blob(ctx, data, digest.FromBytes(data))
}

// blob is bytes, by whatever digest the blob has.
func (p *pusher) blob(ctx context.Context, data []byte, sum digest.Digest) error {
	d := v1.Descriptor{Digest: sum, Size: int64(len(data))}
	_, err := p.client.put(ctx, blob{d, func(_ context.Context, w io.Writer) error {
		_, err := io.Copy(w, bytes.NewReader(data))
		return err
	}}, p.opts.MountFrom)
	return err
}

// manifest sends a manifest or an index to where ref says: its tag, or its
// digest, which then has to be the document's.
func (p *pusher) manifest(ctx context.Context, ref reference, doc document) error {
	if len(doc.data) > ocijson.MaxSize {
		return fmt.Errorf("the manifest has %d bytes: at most %d can be read again", len(doc.data), ocijson.MaxSize)
	}
	target := ref.tag
	if ref.digest != "" {
		if sum := ref.digest.Algorithm().FromBytes(doc.data); sum != ref.digest {
			return &layer.DigestError{What: "manifest of the image", Want: ref.digest, Got: sum}
		}
		if target == "" {
			target = ref.digest.String()
		}
	}
	r := request{
		method: http.MethodPut, url: p.client.repositoryURL("manifests/" + target), body: bytesPayload(doc.data),
		header: http.Header{"Content-Type": {doc.desc.MediaType}}, patience: commitFactor * p.client.opts.stall(),
	}
	resp, err := p.client.do(ctx, r, http.StatusCreated, http.StatusOK, http.StatusAccepted)
	if err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	discard(resp)
	return checkStated(doc.data, resp.Header.Get("Docker-Content-Digest"))
}
