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

// describe describes the image of the base and the layers on top of it.
func (b *builder) describe(base *base, layers []placed) (*image.Description, error) {
	s := b.spec
	d := &image.Description{
		Created: b.created(), Architecture: cmp.Or(s.Architecture, b.opts.Architecture), OS: s.OS, Config: s.Config,
		Variant: s.Variant, ModTime: s.MTime, Annotations: Annotations(s),
	}
	for _, l := range layers {
		d.Layers = append(d.Layers, l.layer)
		d.History = append(d.History, image.History{Created: d.Created, CreatedBy: "varve", Comment: l.comment})
	}
	if base == nil {
		return d, nil
	}
	return d, b.onBase(base, d)
}

// Annotations returns the annotations of a spec's image, or nil if it has none.
func Annotations(s *spec.Spec) map[string]string {
	var all map[string]string
	for _, a := range s.Annotations {
		if all == nil {
			all = map[string]string{}
		}
		all[a.Key] = a.Value
	}
	return all
}

// onBase puts the base below an image that has layers of its own.
func (b *builder) onBase(base *base, d *image.Description) error {
	existing := base.image
	config, err := existing.Run()
	if err != nil {
		return fmt.Errorf("fromImage: its config: %w", err)
	}
	if d.Config, err = InheritConfig(config, b.spec.Config, b.spec.Inherit); err != nil {
		return fmt.Errorf("fromImage: its config: %w", err)
	}
	d.Base = existing
	if name, ok := strings.CutPrefix(b.spec.FromImage, "docker://"); ok {
		d.Annotations = image.BaseAnnotations(d.Annotations, name, existing)
	}
	d.Layers = append(existing.Layers(), d.Layers...)
	d.Architecture = cmp.Or(base.platform.Architecture, d.Architecture)
	d.Variant = cmp.Or(base.platform.Variant, d.Variant)
	d.OS = cmp.Or(base.platform.OS, d.OS)
	if d.OS != "linux" {
		return &SpecError{"fromImage", errors.New("the base is an image for " + d.OS + ", and varve builds for linux")}
	}
	return nil
}

// created returns the time in the config and its history.
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
	return FormatTime(t.UTC())
}

// FormatTime writes a time as Python's datetime.isoformat does, which writes the times
// in nixpkgs' images.
func FormatTime(t time.Time) string {
	layout := "2006-01-02T15:04:05"
	if t.Nanosecond() >= 1000 {
		layout += ".000000"
	}
	return t.Format(layout + "-07:00")
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
