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
	inImage := d.holds(v, "image")
	if d.object(v, "a path or an object with source or content, and target", fields{
		"source":     func(v value) { c.Source = d.source(v, inImage) },
		"image":      func(v value) { c.Image = d.reference(v) },
		"content":    func(v value) { c.Content = d.content(v) },
		"target":     func(v value) { c.Target = d.target(v) },
		"mode":       func(v value) { c.Mode = d.mode(v) },
		"owner":      func(v value) { c.Owner = d.owner(v) },
		"exclude":    func(v value) { c.Exclude = d.globs(v) },
		"ignoreFile": func(v value) { c.IgnoreFile = d.path(v) },
		"hardLinks":  func(v value) { c.HardLinks = d.bool(v) },
	}) {
		d.copyTogether(v, c)
	}
	return c
}

// source returns a path of this machine, or in an image.
func (d *decoder) source(v value, inImage bool) string {
	if inImage {
		return path.Clean("/" + d.target(v))
	}
	return d.path(v)
}

// copyTogether checks the fields of c, which depend on each other.
func (d *decoder) copyTogether(v value, c Copy) {
	if d.holds(v, "image") && d.holds(v, "hardLinks") {
		d.failAt(v, "hardLinks", "an image's hard links are kept without it")
	}
	if !d.holds(v, "content") {
		d.required(v, "source", "the path to copy, or content, the text of a file")
		return
	}
	for _, name := range []string{"source", "image", "exclude", "ignoreFile", "hardLinks"} {
		if d.holds(v, name) {
			d.failAt(v, name, "content is a whole file: %s does not go with it", name)
		}
	}
	switch {
	case !d.holds(v, "target"):
		d.required(v, "target", "the path of the file, such as /etc/motd")
	case strings.HasSuffix(c.Target, "/"):
		d.failAt(v, "target", "got %s, want the path of the file, such as /etc/motd", quote(c.Target))
	case deletes(c.Target):
		d.failAt(v, "target", "%s: a name that begins with .wh. removes another one in a layer", quote(c.Target))
	case c.Owner != nil && c.Owner.Keep:
		d.failAt(v, "owner", `got "keep", which is for tarballs; want %s`, wantOwner)
	}
}

// content returns the text of a file.
func (d *decoder) content(v value) *string {
	s, _ := d.string(v)
	if strings.ContainsRune(s, 0) {
		d.fail(v, "the text holds a NUL character: copy a file with source instead")
	}
	return &s
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
	d.items(v, "a list of rules with path and mode, owner or capabilities", func(v value) {
		list = append(list, d.perm(v))
	})
	return list
}

func (d *decoder) perm(v value) PermRule {
	var r PermRule
	if !d.object(v, "a rule with path and mode, owner or capabilities", fields{
		"path":         func(v value) { r.Path = d.glob(v) },
		"mode":         func(v value) { r.Mode = d.mode(v) },
		"uid":          func(v value) { r.UID = d.idPointer(v) },
		"gid":          func(v value) { r.GID = d.idPointer(v) },
		"owner":        func(v value) { r.Owner = d.ownerInImage(v) },
		"capabilities": func(v value) { r.Capabilities, _ = d.filled(v, "capabilities such as cap_net_raw+ep") },
	}) {
		return r
	}
	d.required(v, "path", "the glob of the entries that the rule is for")
	if !slices.ContainsFunc(v.members, func(m member) bool {
		return m.key.text != "path" && m.value.kind != null
	}) {
		d.fail(v, "the rule sets nothing: give mode, owner, uid, gid or capabilities")
	}
	if r.Owner != nil && (r.UID != nil || r.GID != nil) {
		d.failAt(v, "owner", "owner stands for uid and gid: remove one or the other")
	}
	return r
}

func (d *decoder) groups(v value) []Group {
	var list []Group
	d.items(v, "a list of objects with copyToRoot, contents or other files", func(v value) {
		list = append(list, d.group(v))
	})
	return list
}

func (d *decoder) group(v value) Group {
	var g Group
	ok := d.object(v, "an object with copyToRoot, contents or other files", d.layerFiles(fields{
		"contents":             func(v value) { g.Contents = d.contents(v) },
		"copyToRoot":           func(v value) { g.CopyToRoot = d.copies(v) },
		"keepContentsDirlinks": func(v value) { g.KeepContentsDirlinks = d.bool(v) },
		"perms":                func(v value) { g.Perms = d.perms(v) },
		"built":                func(v value) { g.Built = d.path(v) },
	}, &g.LayerFiles))
	filled := d.holds(v, "contents") || d.holds(v, "copyToRoot") || d.holds(v, "perms") || d.holdsFiles(v)
	switch {
	case !ok:
	case d.holds(v, "built"):
		if filled {
			d.fail(v, "built is a whole layer: no other field goes with it")
		}
	case !filled:
		d.fail(v, "the layer holds nothing: give copyToRoot or other files, contents, or built")
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
