package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/internal/tally"
	"github.com/varve-image/varve/layer"
)

// Push writes an image to the repository of ref and gives it ref's tag; with a digest instead of
// a tag, the manifest has to have that digest. It returns the manifest's descriptor, with the
// platform.
//
// Stored layers are sent byte for byte, if the repository lacks them; the registry takes those
// that another of its repositories has from there. All others are compressed while they are
// sent. The manifest is kept if nothing changed; otherwise it is a new OCI one. It is sent last.
func Push(ctx context.Context, ref string, img image.Image, opts PushOptions) (v1.Descriptor, error) {
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

// origins adds, to the repositories to mount from, those in ref's registry that the image's
// layers come from.
func origins(ref string, img image.Image, from []string) []string {
	to, err := parseReference(ref)
	if err != nil {
		return from // connecting will report it
	}
	from = slices.Clone(from)
	for _, l := range img.Layers() {
		repository, ok := origin(l, to)
		if ok && repository != to.repository && !slices.Contains(from, repository) {
			from = append(from, repository)
		}
	}
	return from
}

// origin returns the repository that a layer comes from, if it is in the same registry as to.
func origin(l image.Layer, to reference) (string, bool) {
	r, ok := l.(image.RepositoryLayer)
	if !ok {
		return "", false
	}
	return strings.CutPrefix(r.Origin(), to.domain+"/")
}

// pusher writes into one repository.
type pusher struct {
	client *client
	opts   PushOptions
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
	return &pusher{c, opts}, nil
}

func (p *pusher) image(ctx context.Context, img image.Image) (v1.Descriptor, error) {
	layers, err := image.Pack(ctx, img.Layers(), image.PackOptions{
		Compressor: p.opts.Compression, Recompress: p.opts.Recompress, Parallel: uploads, Memo: p.opts.Memo, Observe: p.opts.Observe,
	}, p.counted)
	if err != nil {
		return v1.Descriptor{}, err
	}
	config, manifest, err := image.Manifest(ctx, img, layers, true)
	if err != nil {
		return v1.Descriptor{}, err
	}
	if err := p.bytes(ctx, config); err != nil {
		return v1.Descriptor{}, fmt.Errorf("config: %w", err)
	}
	target := p.client.ref
	if p.opts.Untagged {
		target.tag, target.digest = "", manifest.Descriptor.Digest
	}
	return manifest.Descriptor, p.manifest(ctx, target, manifest)
}

// counted sends a layer to the repository, and counts it.
func (p *pusher) counted(ctx context.Context, b *image.Blob) (v1.Descriptor, error) {
	d, kind, err := p.layer(ctx, b)
	if err == nil && len(d.URLs) == 0 {
		tally.From(ctx).Add(kind, b.Layer, d.Size, 0)
	}
	return d, err
}

// layer sends a layer to the repository. One that is kept elsewhere, at its urls, is only
// listed. The digest of a layer that is compressed while it is sent is known only at the end, so
// a layer of more than a chunk is sent without asking whether it is there.
func (p *pusher) layer(ctx context.Context, b *image.Blob) (v1.Descriptor, tally.Kind, error) {
	if len(b.Stored.URLs) > 0 {
		return b.Stored, 0, nil
	}
	var from []string
	if b.Stored.Digest != "" {
		from = p.opts.MountFrom
		if own, ok := origin(b.Layer, p.client.ref); ok {
			from = []string{own} // a registry begins an upload if another is asked for
		}
	}
	if b.Stored.Digest != "" {
		_, kind, err := p.client.put(ctx, blob{b.Stored, b.Write}, from)
		return b.Stored, kind, err
	}
	if b.Known.Digest != "" {
		from = p.opts.MountFrom
	}
	d, kind, err := p.client.put(ctx, blob{b.Known, b.Write}, from)
	if b.Known.Digest != "" && errors.As(err, new(*layer.DigestError)) { // it was remembered wrongly
		d, kind, err = p.client.put(ctx, blob{v1.Descriptor{}, b.Write}, from)
	}
	d.MediaType = b.MediaType()
	return d, kind, err
}

// bytes sends a small blob to the repository.
func (p *pusher) bytes(ctx context.Context, doc image.Document) error {
	_, _, err := p.client.put(ctx, blob{doc.Descriptor, func(_ context.Context, w io.Writer) error {
		_, err := io.Copy(w, bytes.NewReader(doc.Data))
		return err
	}}, p.opts.MountFrom)
	return err
}

// manifest sends a manifest or an index to ref's tag, or to its digest, which then has to be the
// document's.
func (p *pusher) manifest(ctx context.Context, ref reference, doc image.Document) error {
	if len(doc.Data) > ocijson.MaxSize {
		return fmt.Errorf("the manifest has %d bytes: at most %d can be read again", len(doc.Data), ocijson.MaxSize)
	}
	target := ref.tag
	if ref.digest != "" {
		if sum := ref.digest.Algorithm().FromBytes(doc.Data); sum != ref.digest {
			return &layer.DigestError{What: "manifest of the image", Want: ref.digest, Got: sum}
		}
		if target == "" {
			target = ref.digest.String()
		}
	}
	r := request{
		method: http.MethodPut, url: p.client.repositoryURL("manifests/" + target), body: bytesPayload(doc.Data),
		header: http.Header{"Content-Type": {doc.Descriptor.MediaType}}, patience: commitFactor * p.client.opts.stall(),
	}
	resp, err := p.client.do(ctx, r, http.StatusCreated, http.StatusOK, http.StatusAccepted)
	if err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	discard(resp)
	return checkStated(doc.Data, resp.Header.Get("Docker-Content-Digest"))
}
