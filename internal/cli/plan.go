package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/base"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/internal/transfer"
	"github.com/varve-image/varve/spec"
)

// openPlan reads the plan that a spec names; lock is the path of its varve.lock.
func (c *command) openPlan(ctx context.Context, s *spec.Spec, ref spec.Base, lock string) (*base.Plan, error) {
	if ref.Reference == spec.PreviousAuto {
		return c.replacedPlan(ctx, s)
	}
	return c.bases().Plan(ctx, ref, lock)
}

// replacedPlan returns the plan of the image that the image of s will replace. It has no layers if
// there is none yet.
func (c *command) replacedPlan(ctx context.Context, s *spec.Spec) (*base.Plan, error) {
	at := slices.IndexFunc(c.dests, func(d transfer.Destination) bool { return d.Path != "-" && d.Transport != place.LayerDir })
	switch {
	case !c.unlocked:
		return nil, &place.RefError{
			Err: errors.New("auto is not pinned: it is the image that is replaced, and every build replaces it"),
			Hints: []string{
				"varve lock --layers SPEC writes the layers to layers.lock, for previous: layers.lock",
				"or give --unlocked to take what is there now",
			},
		}
	case at < 0:
		return nil, &place.RefError{
			Err:   errors.New("auto is the image that is replaced, and none is replaced here"),
			Hints: []string{"name the image: --previous docker://HOST/NAME:TAG, or the path of an archive, a layout or a layers.lock"},
		}
	}
	ref, ok := replaced(c.dests[at], s)
	if !ok {
		c.ui.Info("previous: auto: an image without a tag replaces none: its layers are divided without a plan")
		return &base.Plan{}, nil
	}
	src, name, err := place.Open(ctx, ref, c.places())
	if err == nil {
		c.closers = append(c.closers, src)
		var img *place.Image
		if img, err = place.Select(ctx, src, name, planPlatform(s), c.places()); err == nil {
			return base.ImagePlan(ref.String(), img.Stored), nil
		}
	}
	if errors.Is(err, image.ErrNotFound) {
		c.ui.Info("previous: auto: %s has no image yet: its layers are divided without a plan", ref)
		return &base.Plan{}, nil
	}
	return nil, fmt.Errorf("image that is replaced: %w", err)
}

// planPlatform is the platform of a spec's image.
func planPlatform(s *spec.Spec) v1.Platform {
	return ocijson.Normal(v1.Platform{OS: s.OS, Architecture: cmp.Or(s.Architecture, hostArchitecture), Variant: s.Variant})
}

// replaced returns where the image is that the image of s replaces, or false if its name will be a
// new one.
func replaced(d transfer.Destination, s *spec.Spec) (place.Ref, bool) {
	ref, tag := d.Ref, append(s.AllTags(), "")[0]
	switch {
	case ref.Transport == place.ImageDir:
	case ref.Path != "" && ref.Transport != place.OCIDir: // an archive of any kind is replaced whole
		ref.Transport, ref.Name = place.Unknown, ""
	case ref.Transport == place.Registry && image.Tag(ref.Name) == "" && tag != "":
		ref.Name += ":" + tag
	case ref.Transport == place.Registry:
		return ref, image.Tag(ref.Name) != ""
	case ref.Name == "" && tag == "":
		return ref, false
	case ref.Name == "":
		ref.Name = s.Name + ":" + tag
	}
	return ref, true
}
