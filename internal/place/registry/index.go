package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/layer"
)

// PushIndex writes an index with its images to the repository of refs, and gives it the tag
// of each. The index is sent last. It returns the index's descriptor.
func PushIndex(ctx context.Context, refs []string, x *image.Index, opts PushOptions) (v1.Descriptor, error) {
	desc, err := pushIndex(ctx, refs, x, opts)
	if err != nil {
		return v1.Descriptor{}, fmt.Errorf("push index %q: %w", strings.Join(refs, ", "), err)
	}
	return desc, nil
}

func pushIndex(ctx context.Context, refs []string, x *image.Index, opts PushOptions) (v1.Descriptor, error) {
	if len(refs) == 0 {
		return v1.Descriptor{}, errors.New("there is no reference to push to")
	}
	manifests := make([]v1.Descriptor, len(x.Images))
	for i, img := range x.Images {
		each := opts
		each.Untagged, each.Observe = true, image.Observe(x.Images, i, opts.Observe)
		var err error
		if manifests[i], err = Push(ctx, refs[0], img, each); err != nil {
			return v1.Descriptor{}, err
		}
	}
	doc, err := x.Document(manifests)
	if err != nil {
		return v1.Descriptor{}, err
	}
	for _, ref := range refs {
		p, err := newPusher(ctx, ref, opts)
		if err != nil {
			return v1.Descriptor{}, err
		}
		err = p.manifest(ctx, p.client.ref, doc)
		p.client.policy.closeIdle()
		if err != nil {
			return v1.Descriptor{}, err
		}
	}
	return doc.Descriptor, nil
}

// Copy copies what a reference stands for to ref, byte for byte: an index with all its images,
// attestations and nested indexes, or one image.
func Copy(ctx context.Context, from *Resolved, ref string, opts PushOptions) (v1.Descriptor, error) {
	if err := copyAll(ctx, from, ref, opts); err != nil {
		return v1.Descriptor{}, fmt.Errorf("copy image %q to %q: %w", from.client.ref, ref, err)
	}
	return from.Descriptor, nil
}

func copyAll(ctx context.Context, from *Resolved, ref string, opts PushOptions) error {
	c := &copier{
		from: from, warn: opts.Warn, newBudget: opts.Budget, verified: opts.Verified,
		diffIDs: map[digest.Digest]digest.Digest{}, budgets: map[digest.Digest]*layer.Budget{},
	}
	if err := c.gather(ctx, from.Descriptor, 0); err != nil {
		return err
	}
	to, err := parseReference(ref)
	if err != nil {
		return err
	}
	source := from.client.ref
	if to.host == source.host && to.repository != source.repository && !slices.Contains(opts.MountFrom, source.repository) {
		opts.MountFrom = append([]string{source.repository}, opts.MountFrom...)
	}
	p, err := newPusher(ctx, ref, opts)
	if err != nil {
		return err
	}
	defer p.client.policy.closeIdle()
	if err := c.sendBlobs(ctx, p); err != nil {
		return err
	}
	for i, doc := range c.documents {
		target := p.client.ref
		if i < len(c.documents)-1 {
			target.tag, target.digest = "", doc.Descriptor.Digest
		}
		if err := p.manifest(ctx, target, doc); err != nil {
			return err
		}
	}
	return nil
}

// copier collects what to copy: layers, configs, and the documents, each after what it refers
// to.
type copier struct {
	from      *Resolved
	warn      func(error)
	layers    []v1.Descriptor
	configs   []v1.Descriptor
	documents []image.Document
	// diffIDs are the blobs' diffIDs in configs.
	diffIDs map[digest.Digest]digest.Digest
	// budgets holds, for each layer, the budget of the first image that has it.
	newBudget func() *layer.Budget
	budgets   map[digest.Digest]*layer.Budget
	verified  layer.BlobMemo
}

func (c *copier) gather(ctx context.Context, d v1.Descriptor, depth int) error {
	if depth > ocijson.MaxNesting {
		return fmt.Errorf("index %s: nested deeper than %d levels", d.Digest, ocijson.MaxNesting)
	}
	same := func(doc image.Document) bool { return doc.Descriptor.Digest == d.Digest }
	if slices.ContainsFunc(c.documents, same) {
		return nil
	}
	data, err := c.from.Document(ctx, d)
	if err != nil {
		return err
	}
	switch {
	case ocijson.IsIndex(d.MediaType):
		_, children, err := ocijson.ParseIndex(data)
		if err != nil {
			return fmt.Errorf("index %s: %w", d.Digest, err)
		}
		for _, child := range children {
			if err := c.gather(ctx, child, depth+1); err != nil {
				return err
			}
		}
	case ocijson.IsManifest(d.MediaType):
		config, layers, err := ocijson.ParseManifest(data)
		if err != nil {
			return fmt.Errorf("manifest %s: %w", d.Digest, err)
		}
		if err := c.readConfig(ctx, d, config, layers); err != nil {
			return fmt.Errorf("manifest %s: %w", d.Digest, err)
		}
		c.layers, c.configs = append(c.layers, layers...), append(c.configs, config)
	default:
		return fmt.Errorf("%s is of type %q, not an image's or an index's", d.Digest, d.MediaType)
	}
	c.documents = append(c.documents, image.Document{Data: data, Descriptor: d})
	return nil
}

// readConfig reads the diffIDs in an image's config, and warns if its platform is not the one in
// the index. It skips manifests of other things.
func (c *copier) readConfig(ctx context.Context, manifest, config v1.Descriptor, layers []v1.Descriptor) error {
	if config.MediaType != v1.MediaTypeImageConfig && config.MediaType != ocijson.DockerConfig || ocijson.IsAttestation(manifest) {
		return nil
	}
	data, err := c.from.Document(ctx, config)
	if err != nil {
		return err
	}
	parsed, ids, err := image.ParseConfig(data)
	if err != nil || len(ids) != len(layers) {
		return nil // engines do not accept it as an image either
	}
	var budget *layer.Budget
	if c.newBudget != nil {
		budget = c.newBudget()
	}
	for i, l := range layers {
		if c.budgets[l.Digest] == nil {
			c.budgets[l.Digest] = budget
		}
		known, ok := c.diffIDs[l.Digest]
		if ok && known != ids[i] {
			return fmt.Errorf("config %s: layer %s unpacks to %s, and to %s by what another place says", config.Digest, l.Digest, ids[i], known)
		}
		c.diffIDs[l.Digest] = ids[i]
	}
	if err := ocijson.CheckAnnounced(manifest.Platform, image.PlatformOf(parsed)); err != nil && c.warn != nil {
		c.warn(fmt.Errorf("image %s: %w", manifest.Digest, err))
	}
	return nil
}

// sendBlobs sends all blobs to the repository, except those kept elsewhere, and reports the
// layers.
func (c *copier) sendBlobs(ctx context.Context, p *pusher) error {
	layers := make([]image.Layer, len(c.layers))
	for i, d := range c.layers {
		layers[i] = c.blob(d)
	}
	if _, err := image.Pack(ctx, layers, image.PackOptions{Parallel: uploads, Observe: p.opts.Observe}, p.counted); err != nil {
		return err
	}
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.SetLimit(uploads)
	sent := map[digest.Digest]bool{}
	for _, d := range c.configs {
		if sent[d.Digest] || len(d.URLs) > 0 {
			continue
		}
		sent[d.Digest] = true
		tasks.Go(func() error {
			_, _, err := p.layer(ctx, &image.Blob{Layer: c.blob(d), Stored: d})
			return err
		})
	}
	return tasks.Wait()
}

func (c *copier) blob(d v1.Descriptor) *layer.Blob {
	stored := &layer.Blob{
		Name: d.Digest.String(), Descriptor: d, DiffID: c.diffIDs[d.Digest],
		Fetch: func(ctx context.Context) (io.ReadCloser, error) { return c.from.client.fetch(ctx, d) },
	}
	stored.Limit(c.budgets[d.Digest])
	stored.Remember(c.verified)
	return stored
}
