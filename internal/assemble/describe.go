package assemble

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/spec"
)

// describe makes the image of the base and the layers that go on it.
func (b *builder) describe(base *base, layers []placed) (*image.Image, error) {
	s := b.spec
	img := &image.Image{
		Created: b.created(), Architecture: cmp.Or(s.Architecture, b.opts.Architecture), OS: s.OS, Config: s.Config,
		Variant: s.Variant, Repository: s.Name, Tag: s.Tag, ModTime: s.MTime,
	}
	for _, l := range layers {
		img.Layers = append(img.Layers, l.layer)
		img.History = append(img.History, image.History{Created: img.Created, CreatedBy: "varve", Comment: l.comment})
	}
	if len(s.Annotations) > 0 {
		img.Annotations = map[string]string{}
		for _, a := range s.Annotations {
			img.Annotations[a.Key] = a.Value
		}
	}
	if base == nil {
		return img, nil
	}
	return img, b.onBase(base, img)
}

// onBase makes an image with layers of its own into one that has them on a base.
func (b *builder) onBase(base *base, img *image.Image) error {
	existing := base.image
	config, err := existing.Run()
	if err != nil {
		return fmt.Errorf("fromImage: its config: %w", err)
	}
	if img.Config, err = inheritConfig(config, b.spec.Config, b.spec.Inherit); err != nil {
		return fmt.Errorf("fromImage: its config: %w", err)
	}
	img.Base = existing
	if name, ok := strings.CutPrefix(b.spec.FromImage, "docker://"); ok {
		img.WithBase(name, existing)
	}
	layers := make([]image.Layer, 0, len(existing.Layers)+len(img.Layers))
	for _, l := range existing.Layers {
		layers = append(layers, l)
	}
	img.Layers = append(layers, img.Layers...)
	img.Architecture = cmp.Or(base.platform.Architecture, img.Architecture)
	img.Variant = cmp.Or(base.platform.Variant, img.Variant)
	img.OS = cmp.Or(base.platform.OS, img.OS)
	if img.OS != "linux" {
		return &SpecError{"fromImage", errors.New("the base is an image for " + img.OS + ", and varve builds for linux")}
	}
	return nil
}

// created is the time of the config and its history.
func (b *builder) created() string {
	t := time.Unix(1, 0)
	switch {
	case b.spec.Created != nil && b.spec.Created.Now:
		t = b.opts.Now.Truncate(time.Second)
	case b.spec.Created != nil:
		t = time.Unix(b.spec.Created.Seconds, 0)
	case b.opts.SourceDateEpoch != nil:
		t = time.Unix(*b.opts.SourceDateEpoch, 0)
	}
	return confTime(t.Unix())
}

// ParseSourceDateEpoch reads the environment's SOURCE_DATE_EPOCH
// (reproducible-builds.org/specs/source-date-epoch).
func ParseSourceDateEpoch(text string) (int64, error) {
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil || seconds < 0 || seconds > spec.MaxTime || strings.HasPrefix(text, "+") {
		return 0, fmt.Errorf("SOURCE_DATE_EPOCH is %q, expected seconds since 1970", text)
	}
	return seconds, nil
}
