package spec

import (
	"maps"
	"slices"
	"strings"

	"github.com/varve-image/varve/internal/arch"
)

// Platform is the platform of an image, as the OCI image-spec names it. Variant may be empty.
type Platform struct {
	OS, Architecture, Variant string
}

// String returns OS/ARCHITECTURE[/VARIANT].
func (p Platform) String() string {
	if p.Variant == "" {
		return p.OS + "/" + p.Architecture
	}
	return p.OS + "/" + p.Architecture + "/" + p.Variant
}

// names returns what the variables of the platform stand for.
func (p Platform) names() map[string]string {
	return map[string]string{"os": p.OS, "arch": p.Architecture, "variant": p.Variant, "platform": p.String()}
}

// setPlatform sets the platform of an input, whatever it says itself.
func setPlatform(root *node, p Platform, flag string) {
	if root.kind != object {
		return
	}
	s := Setting{Flag: flag}
	put(root, s.text("os"), s.text(p.OS))
	put(root, s.text("architecture"), s.text(p.Architecture))
	variant := s.text(p.Variant)
	if p.Variant == "" {
		variant.kind = null
	}
	put(root, s.text("variant"), variant)
}

// readPlatform finds the platform, and replaces the variables of a spec that has args.
func (d *decoder) readPlatform(root *node, architecture string) {
	v := d.variables
	if v != nil {
		v.platformTexts(root)
	}
	normalise(root)
	d.platform = platformOf(root, architecture)
	if v != nil {
		v.texts(root, d.platform)
		v.unused()
	}
}

// normalise replaces an input's architecture by Go's name of it, and sets the variant that
// another name implies, before anything uses them.
func normalise(root *node) {
	i := root.index("architecture")
	if root.kind != object || i < 0 || root.members[i].value.kind != text {
		return
	}
	said := root.members[i]
	goarch, variant, ok := arch.Lookup(said.value.text)
	if !ok {
		return // the decoder says so
	}
	renamed := *said.value
	renamed.text = goarch
	root.members[i].value = &renamed
	if at := root.index("variant"); variant == "" || at >= 0 && root.members[at].value.kind != null {
		return
	}
	key, value := *said.key, renamed
	key.text, value.text = "variant", variant
	put(root, &key, &value)
}

// platformOf returns the platform of an input, for the variables in its paths.
func platformOf(root *node, architecture string) Platform {
	p := Platform{OS: "linux", Architecture: architecture}
	for name, to := range map[string]*string{"os": &p.OS, "architecture": &p.Architecture, "variant": &p.Variant} {
		if i := root.index(name); i >= 0 && root.members[i].value.kind == text {
			*to = root.members[i].value.text
		}
	}
	return p
}

// expand replaces ${os}, ${arch}, ${variant} and ${platform} in s, which v holds, by the
// platform. $${ stands for ${.
func (d *decoder) expand(v value, s string) string {
	if d.variables != nil { // in a spec with args they are replaced already
		return s
	}
	names := d.platform.names()
	var out strings.Builder
	for {
		before, after, found := strings.Cut(s, "${")
		if !found {
			return out.String() + s
		}
		if literal, ok := strings.CutSuffix(before, "$"); ok {
			out.WriteString(literal + "${")
			s = after
			continue
		}
		name, rest, closed := strings.Cut(after, "}")
		text, known := names[name]
		switch {
		case !closed:
			d.fail(v, "%s has no end of its ${: write $${ for one that is part of the name", quote(s))
			return s
		case !known:
			all := slices.Sorted(maps.Keys(names))
			d.fail(v, "%s is none of ${%s}%s; write $${ for one that is part of the name",
				quote("${"+name+"}"), strings.Join(all, "}, ${"), didYouMean(name, all))
			return s
		case text == "" && name == "arch":
			d.fail(v, "%s: the architecture is not known: give one", quote("${arch}"))
			return s
		}
		out.WriteString(before + text)
		s = rest
	}
}
