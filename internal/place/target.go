package place

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/place/dockerarchive"
	"github.com/varve-image/varve/internal/place/hybrid"
	"github.com/varve-image/varve/internal/place/ocilayout"
	"github.com/varve-image/varve/internal/place/registry"
)

// TargetOptions says how to write images to a place.
type TargetOptions struct {
	Options
	// Compression is that of a docker-archive as a whole, and of the layers elsewhere. An Archive
	// and engines get uncompressed layers.
	Compression compress.Compression
}

// To returns the place that a reference names as a target. An image's name there is its own, or
// the reference's. A target whose Transport has TakesIndex is an image.IndexTarget.
func To(ctx context.Context, r Ref, opts TargetOptions) (image.Target, error) {
	layout := ocilayout.Options{Compression: opts.Compression, RefName: r.Name, TempDir: filepath.Dir(r.Path), Memo: opts.memo(ctx)}
	if r.Path == "-" {
		layout.TempDir = opts.TempDir
	}
	switch r.Transport {
	case Archive:
		return &hybrid.Target{
			Name: r.Path, Output: opts.Output(r.Path), RepoTag: r.Name, Options: hybrid.Options{TempDir: opts.TempDir},
		}, nil
	case DockerArchive:
		return &dockerarchive.Target{
			Name: r.Path, Output: opts.Output(r.Path), RepoTag: r.Name, Compression: opts.Compression,
			Options: dockerarchive.Options{TempDir: opts.TempDir, Memo: opts.memo(ctx)},
		}, nil
	case OCIDir:
		return ocilayout.NewDir(r.Path, layout), nil
	case OCIArchive:
		return ocilayout.NewArchive(r.Path, opts.Output(r.Path), layout), nil
	case ImageDir:
		return ocilayout.NewImageDir(r.Path, layout), nil
	case Registry:
		return &registry.Target{Ref: r.Name, Options: func() (registry.PushOptions, error) {
			o, err := opts.RegistryOptions(r.Name)
			return registry.PushOptions{Options: o, Compression: opts.Compression, Memo: opts.memo(ctx), MountFrom: opts.Pushed.in(r.Name)}, err
		}}, nil
	case DockerDaemon, ContainersStorage, Containerd:
		return toEngine(ctx, r, opts)
	}
	return nil, refError("%s is not a place for images", r)
}

// ToIndex is like To, for an image for several platforms. text is the reference as it was
// written.
func ToIndex(ctx context.Context, r Ref, text string, opts TargetOptions) (image.IndexTarget, error) {
	if err := r.CheckIndex(text); err != nil {
		return nil, err
	}
	target, err := To(ctx, r, opts)
	if err != nil {
		return nil, err
	}
	x, ok := target.(image.IndexTarget)
	if !ok {
		return nil, fmt.Errorf("%s cannot have an index", r)
	}
	return x, nil
}

// CheckIndex refuses a place that can hold images for one platform only. text is the reference
// as it was written.
func (r Ref) CheckIndex(text string) error {
	if r.Transport.TakesIndex() {
		return nil
	}
	return &RefError{
		fmt.Errorf("%q: %s has no place for an image for several platforms", text, r.Transport.Kind()),
		[]string{"write an archive (-o FILE.tar), an OCI layout (-o DIR/ or oci:DIR:NAME), its archive (oci-archive:FILE:NAME) or to a registry (docker://…), or choose one with --platform"},
	}
}
