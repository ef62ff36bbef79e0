package place

import (
	"context"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/place/dockerarchive"
	"github.com/varve-image/varve/internal/place/engine"
	"github.com/varve-image/varve/internal/place/hybrid"
	"github.com/varve-image/varve/internal/place/ocilayout"
)

func toEngine(ctx context.Context, r Ref, opts TargetOptions) (image.Target, error) {
	e, err := opts.engine(ctx, r.Transport)
	if err != nil {
		return nil, err
	}
	archive := func(a *forEngine) engine.Archive {
		a.tempDir = opts.TempDir
		a.oci = ocilayout.Options{Compression: opts.Compression, TempDir: opts.TempDir, Plain: true}
		if memo := opts.memo(ctx); memo != nil && opts.Compression.Algorithm != compress.None {
			a.oci.Memo = &steadyMemo{Memo: memo, known: map[string]v1.Descriptor{}}
		}
		return engine.Archive{Write: a.write, Describe: a.describe}
	}
	return &engine.Target{
		Engine: e, RepoTag: r.Name,
		Archive: func(img image.Named, observe func(image.Event)) engine.Archive {
			return archive(&forEngine{img: img, observe: observe})
		},
		IndexArchive: func(x *image.Index, observe func(image.Event)) engine.Archive {
			return archive(&forEngine{index: x, observe: observe})
		},
	}, nil
}

// forEngine writes an image, or an index, for engines.
type forEngine struct {
	img     image.Named
	index   *image.Index // nil for an image
	tempDir string
	oci     ocilayout.Options
	observe func(image.Event)
}

func (a *forEngine) write(ctx context.Context, w io.Writer, form engine.Form) (digest.Digest, error) {
	if a.index != nil {
		x := *a.index
		x.Names = image.Names{} // where there are manifests, an index is loaded without
		return ocilayout.WriteIndexArchive(ctx, w, &x, a.ociOptions(form))
	}
	img := a.img
	if form.Nameless {
		img.Names = image.Names{}
	}
	var omit func(digest.Digest) bool
	if form.Omit != nil {
		omit = func(diffID digest.Digest) bool { return form.Omit(diffID, diffID) }
	}
	switch form.Kind {
	case engine.OCI:
		return ocilayout.WriteArchive(ctx, w, img, a.ociOptions(form))
	case engine.Hybrid:
		written, err := hybrid.Write(ctx, w, []image.Named{img}, hybrid.Options{TempDir: a.tempDir, Omit: omit, Observe: a.observe})
		if err != nil {
			return "", err
		}
		return written[0].Manifest.Digest, nil
	}
	return "", dockerarchive.Write(ctx, w, img, dockerarchive.Options{TempDir: a.tempDir, Omit: omit, Observe: a.observe})
}

// ociOptions are those of an OCI archive.
func (a *forEngine) ociOptions(form engine.Form) ocilayout.Options {
	opts := a.oci
	opts.Observe = a.observe
	if form.Omit != nil {
		opts.Omit = func(diffID digest.Digest, blob v1.Descriptor) bool { return form.Omit(diffID, blob.Digest) }
	}
	return opts
}

func (a *forEngine) describe(ctx context.Context) (engine.Description, error) {
	describe := func() (ocilayout.Description, error) { return ocilayout.Describe(ctx, a.img, a.oci) }
	if a.index != nil {
		describe = func() (ocilayout.Description, error) { return ocilayout.DescribeIndex(ctx, a.index, a.oci) }
	}
	d, err := describe()
	if err != nil {
		return engine.Description{}, err
	}
	described := engine.Description{Manifest: d.Top.Digest}
	for _, l := range d.Layers {
		described.Layers = append(described.Layers, l.Digest)
	}
	return described, nil
}

// steadyMemo gives the same answer each time: what is written has to be what was described.
type steadyMemo struct {
	image.Memo

	mu    sync.Mutex
	known map[string]v1.Descriptor // with an empty digest for what is not known
}

// Blob returns what was known of a blob when that was first asked.
func (m *steadyMemo) Blob(diffID digest.Digest, compressor string) (v1.Descriptor, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := blobKey(diffID, compressor)
	d, ok := m.known[key]
	if !ok {
		d, _ = m.Memo.Blob(diffID, compressor)
		m.known[key] = d
	}
	return d, d.Digest != ""
}
