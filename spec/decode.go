package spec

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// decoder turns a tree of nodes into a Spec and collects what is wrong.
type decoder struct {
	problems
	spec             *Spec
	platform         Platform
	dir, settingsDir string
	// variables are nil in a spec without args.
	variables *variables
}

// value is a node and the path of its field.
type value struct {
	*node
	field string
}

// fields holds, for each name that an object may have, what to do with its
// value.
type fields map[string]func(value)

// fail reports what is wrong with v.
func (d *decoder) fail(v value, format string, args ...any) {
	d.add(v.node, v.field, format, args...)
}

// want reports that v is of another kind than wanted.
func (d *decoder) want(v value, wanted string) {
	switch v.kind {
	case invalid: // reported already
	case number, boolean:
		if wanted == wantString {
			d.fail(v, "got %s, want %s: put it in quotes", v.describe(), wanted)
			return
		}
		fallthrough
	default:
		d.fail(v, "got %s, want %s", v.describe(), wanted)
	}
}

const wantString = "a string"

// object hands v's members to known. Null members are treated as absent. It
// reports whether v is an object.
func (d *decoder) object(v value, wanted string, known fields) bool {
	if v.kind != object {
		d.want(v, wanted)
		return false
	}
	for _, m := range v.members {
		field := value{m.value, joinField(v.field, m.key.text)}
		set, ok := known[m.key.text]
		switch {
		case !ok:
			names := slices.Collect(maps.Keys(known))
			what := "unknown field"
			if m.value.flag != "" { // its messages do not name the field
				what += " " + quote(m.key.text)
			}
			d.add(place(m), field.field, "%s%s", what, didYouMean(m.key.text, names))
		case m.value.kind == null:
		default:
			set(field)
		}
	}
	return true
}

// place returns the node that stands for m in messages about its name.
func place(m member) *node {
	if m.value.flag != "" {
		return m.value
	}
	return m.key
}

// required reports a field that v lacks.
func (d *decoder) required(v value, name, what string) {
	if i := v.index(name); v.kind == object && (i < 0 || v.members[i].value.kind == null) {
		d.add(v.node, joinField(v.field, name), "missing: %s", what)
	}
}

// items calls each for the items of a list.
func (d *decoder) items(v value, wanted string, each func(value)) {
	if v.kind != list {
		d.want(v, wanted)
		return
	}
	for i, n := range v.items {
		each(value{n, v.field + "[" + itoa(i) + "]"})
	}
}

// oneOrMore calls each for the items of a list, or for a string by itself.
func (d *decoder) oneOrMore(v value, wanted string, each func(value)) {
	if v.kind == text {
		each(v)
		return
	}
	d.items(v, wanted, each)
}

// string returns v's text. If v is not a string, it reports that and ok is
// false.
func (d *decoder) string(v value) (s string, ok bool) {
	if v.kind != text {
		d.want(v, wantString)
		return "", false
	}
	return v.text, true
}

// line returns v's text, which must not hold control characters.
func (d *decoder) line(v value) (s string, ok bool) {
	s, ok = d.string(v)
	if !ok {
		return "", false
	}
	if !utf8.ValidString(s) {
		d.fail(v, "%s is not UTF-8", quote(s))
		return "", false
	}
	if i := strings.IndexFunc(s, isControl); i >= 0 {
		d.fail(v, "%s holds the control character %q", quote(s), s[i])
		return "", false
	}
	return s, true
}

func isControl(r rune) bool {
	return r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0
}

// filled returns v's text, a line that is not empty.
func (d *decoder) filled(v value, what string) (s string, ok bool) {
	if s, ok = d.line(v); ok && s == "" {
		d.fail(v, "got an empty string, want %s", what)
		return "", false
	}
	return s, ok
}

// bool returns v's value. A setting's is given as text.
func (d *decoder) bool(v value) bool {
	word := strings.ToLower(v.text)
	if v.kind == boolean || v.loose() && (word == "true" || word == "false") {
		return word == "true"
	}
	d.want(v, "true or false")
	return false
}

// path returns v's text as an absolute, clean path on this machine.
func (d *decoder) path(v value) string {
	s, ok := d.filled(v, "a path")
	if !ok {
		return ""
	}
	if isURL(s) {
		d.fail(v, "%s is a URL, and what goes into an image is a file: fetch it first, compare its hash, and name the file", quote(s))
		return ""
	}
	return d.absolute(v, d.expand(v, s))
}

// isURL reports whether s has a URL's scheme (RFC 3986, 3.1).
func isURL(s string) bool {
	scheme, _, found := strings.Cut(s, "://")
	return found && scheme != "" && strings.Trim(scheme, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-.") == ""
}

// absolute returns the absolute form of s, a path that v holds.
func (d *decoder) absolute(v value, s string) string {
	if filepath.IsAbs(s) {
		return filepath.Clean(s)
	}
	dir := d.dir
	if v.flag != "" {
		dir = d.settingsDir
	}
	full := filepath.Join(dir, s)
	d.spec.local[full] = s
	return full
}

// paths returns the paths in v, a list or one string.
func (d *decoder) paths(v value) []string {
	var list []string
	d.oneOrMore(v, "a list of paths", func(v value) {
		list = append(list, d.path(v))
	})
	return list
}

// contents returns the paths in v. An absolute path may not contain "..": what
// looks like a store path would be another place.
func (d *decoder) contents(v value) []string {
	for _, n := range append([]*node{v.node}, v.items...) {
		if n.kind == text && filepath.IsAbs(n.text) && climbs(n.text) {
			d.add(n, v.field, "%s: write the path without .. parts", quote(n.text))
		}
	}
	return d.paths(v)
}
