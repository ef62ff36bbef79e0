package spec

import (
	"path"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// copies returns the items of copyToRoot: a path, or a list of paths and
// objects.
func (d *decoder) copies(v value) []Copy {
	var list []Copy
	d.oneOrMore(v, "a list of paths or of {source, target}", func(v value) {
		list = append(list, d.copy(v))
	})
	return list
}

func (d *decoder) copy(v value) Copy {
	c := Copy{Target: "/"}
	if v.kind == text {
		c.Source = d.path(v)
		return c
	}
	if d.object(v, "a path or an object with source and target", fields{
		"source":    func(v value) { c.Source = d.path(v) },
		"target":    func(v value) { c.Target = d.target(v) },
		"mode":      func(v value) { c.Mode = d.mode(v) },
		"owner":     func(v value) { c.Owner = d.owner(v) },
		"exclude":   func(v value) { c.Exclude = d.globs(v) },
		"hardLinks": func(v value) { c.HardLinks = d.bool(v) },
	}) {
		d.required(v, "source", "the path to copy")
	}
	return c
}

// target returns a path in the image: absolute and clean, except that a slash at
// the end is kept.
func (d *decoder) target(v value) string {
	s, ok := d.filled(v, "a path in the image")
	if !ok {
		return ""
	}
	if climbs(s) {
		d.fail(v, "%s leads out of the image: remove the .. parts", quote(s))
	}
	clean := path.Clean("/" + s)
	if clean != "/" && (strings.HasSuffix(s, "/") || strings.HasSuffix(s, "/.")) {
		clean += "/"
	}
	return clean
}

// climbs reports whether one of p's parts is "..".
func climbs(p string) bool {
	return slices.Contains(strings.Split(p, "/"), "..")
}

// glob returns a pattern of paths below the image's root or a source.
func (d *decoder) glob(v value) string {
	s, ok := d.filled(v, "a glob")
	switch {
	case !ok:
	case climbs(s):
		d.fail(v, "%s leads out: remove the .. parts", quote(s))
	case !doublestar.ValidatePattern(s):
		d.fail(v, "%s is not a valid glob: want * ? ** [a-z] {a,b}, and \\ before such a character that stands for itself", quote(s))
	}
	return s
}

func (d *decoder) globs(v value) []string {
	var list []string
	d.oneOrMore(v, "a list of globs", func(v value) {
		list = append(list, d.glob(v))
	})
	return list
}

func (d *decoder) perms(v value) []PermRule {
	var list []PermRule
	d.items(v, "a list of rules with path and mode, uid, gid or capabilities", func(v value) {
		list = append(list, d.perm(v))
	})
	return list
}

func (d *decoder) perm(v value) PermRule {
	var r PermRule
	if !d.object(v, "a rule with path and mode, uid, gid or capabilities", fields{
		"path":         func(v value) { r.Path = d.glob(v) },
		"mode":         func(v value) { r.Mode = d.mode(v) },
		"uid":          func(v value) { r.UID = d.idPointer(v) },
		"gid":          func(v value) { r.GID = d.idPointer(v) },
		"capabilities": func(v value) { r.Capabilities, _ = d.filled(v, "capabilities such as cap_net_raw+ep") },
	}) {
		return r
	}
	d.required(v, "path", "the glob of the entries that the rule is for")
	if !slices.ContainsFunc(v.members, func(m member) bool {
		return m.key.text != "path" && m.value.kind != null
	}) {
		d.fail(v, "the rule sets nothing: give mode, uid, gid or capabilities")
	}
	return r
}

func (d *decoder) groups(v value) []Group {
	var list []Group
	d.items(v, "a list of objects with contents or copyToRoot", func(v value) {
		list = append(list, d.group(v))
	})
	return list
}

func (d *decoder) group(v value) Group {
	var g Group
	ok := d.object(v, "an object with contents or copyToRoot", fields{
		"contents":             func(v value) { g.Contents = d.contents(v) },
		"copyToRoot":           func(v value) { g.CopyToRoot = d.copies(v) },
		"keepContentsDirlinks": func(v value) { g.KeepContentsDirlinks = d.bool(v) },
		"perms":                func(v value) { g.Perms = d.perms(v) },
		"built":                func(v value) { g.Built = d.path(v) },
	})
	filled := d.holds(v, "contents") || d.holds(v, "copyToRoot")
	switch {
	case !ok:
	case d.holds(v, "built"):
		if filled || d.holds(v, "perms") {
			d.fail(v, "built is a whole layer: no other field goes with it")
		}
	case !filled:
		d.fail(v, "the layer holds nothing: give contents or copyToRoot, or built")
	}
	return g
}

// holds reports whether the object v has something in the field name.
func (d *decoder) holds(v value, name string) bool {
	i := v.index(name)
	if i < 0 {
		return false
	}
	n := v.members[i].value
	return n.kind != null && (n.kind != list || len(n.items) > 0)
}
