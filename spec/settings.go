package spec

import (
	"strings"
	"unicode/utf8"
)

// Setting is a value from the command line. Settings are applied in order before
// an input is checked, so that they are checked like the input and may correct
// it.
//
// The meaning of Values depends on Field:
//
//   - contents, remove, config.Cmd, config.Entrypoint, config.OnBuild, config.Shell:
//     the items of a list, which replaces the input's.
//   - tag: tags, which replace the input's tag and tags.
//   - copyToRoot: SRC or SRC:DST, split at the last colon; the list replaces the
//     input's.
//   - perms: GLOB:MODE, GLOB:MODE:OWNER or GLOB:MODE:UID:GID, where MODE, UID and
//     GID may be empty; the list replaces the input's.
//   - directories: PATH, PATH:MODE or PATH:MODE:OWNER, where MODE may be empty; the
//     list replaces the input's.
//   - users: NAME, NAME:UID or NAME:UID:GID; groups: NAME or NAME:GID; the list
//     replaces the input's.
//   - symlinks: PATH=TEXT, a path to add.
//   - presets: NAME or NAME=ARGUMENT; the list replaces the input's.
//   - config.Env: NAME=value; replaces the same variable, or follows the others.
//   - labels, annotations: KEY=VALUE; replaces the same key, in config.Labels
//     too.
//   - config.ExposedPorts, config.Volumes: a key to add.
//   - anything else: a scalar, of which the last value counts; it replaces the
//     input's.
//
// A list without values empties the input's; any other field without values is
// left as it is.
type Setting struct {
	// Field is a field of the spec, or config and a key with a dot between.
	Field string
	// Flag names the setting in messages, such as "--copy"; Field if empty.
	Flag string
	// Values are as they stand on the command line.
	Values []string
}

// apply puts the setting into root, an object.
func (s Setting) apply(root *node, p *problems) {
	parent, name := root, s.Field
	if key, ok := strings.CutPrefix(s.Field, "config."); ok {
		parent, name = s.child(root, "config", object), key
	}
	if parent.kind != object { // the decoder will say so
		return
	}
	for _, v := range s.Values {
		if !utf8.ValidString(v) {
			p.add(s.text(v), s.Field, "%s is not UTF-8", quote(v))
			put(parent, s.text(canonicalIn(parent, name)), s.node(invalid, ""))
			return
		}
	}
	switch s.Field {
	case "tag":
		s.tags(parent)
	case "copyToRoot":
		s.replace(parent, name, s.copy)
	case "perms":
		s.replace(parent, name, func(v string) *node { return s.perm(v, p) })
	case "presets":
		s.replace(parent, name, s.preset)
	case "directories":
		s.replace(parent, name, func(v string) *node { return s.colons(v, p, "path", "mode", "owner") })
	case "users":
		s.replace(parent, name, func(v string) *node { return s.colons(v, p, "name", "uid", "gid") })
	case "groups":
		s.replace(parent, name, func(v string) *node { return s.colons(v, p, "name", "gid") })
	case "contents", "remove", "config.Cmd", "config.Entrypoint", "config.OnBuild", "config.Shell":
		s.replace(parent, name, s.text)
	case "config.Env":
		s.mergeEnv(s.child(parent, name, list))
	case "config.ExposedPorts", "config.Volumes":
		for _, v := range s.Values {
			put(s.child(parent, name, object), s.text(v), s.node(object, ""))
		}
	case "labels", "annotations", "symlinks":
		s.mergePairs(root, parent, p)
	default:
		if n := len(s.Values); n > 0 {
			put(parent, s.text(canonicalIn(parent, name)), s.text(s.Values[n-1]))
		}
	}
}

// node returns a node that names the setting in messages.
func (s Setting) node(k kind, value string) *node {
	flag := s.Flag
	if flag == "" {
		flag = s.Field
	}
	return &node{kind: k, text: value, flag: flag}
}

func (s Setting) text(v string) *node { return s.node(text, v) }

// object returns an object of the given keys and values; empty values are left
// out.
func (s Setting) object(pairs ...string) *node {
	o := s.node(object, "")
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			put(o, s.text(pairs[i]), s.text(pairs[i+1]))
		}
	}
	return o
}

// child returns the member name of parent; where it is absent or null, a new
// one of kind k.
func (s Setting) child(parent *node, name string, k kind) *node {
	name = canonicalIn(parent, name)
	if i := parent.index(name); i >= 0 && parent.members[i].value.kind != null {
		return parent.members[i].value
	}
	n := s.node(k, "")
	put(parent, s.text(name), n)
	return n
}

// canonicalIn returns name as parent, perhaps a config, spells it.
func canonicalIn(parent *node, name string) string {
	for _, m := range parent.members {
		if m.key.text == name || canonicalKey(m.key.text) == name {
			return m.key.text
		}
	}
	return name
}

// put gives the object parent a member, replacing one with the same key.
func put(parent, key, value *node) {
	if i := parent.index(key.text); i >= 0 {
		parent.members[i] = member{key, value}
		return
	}
	parent.members = append(parent.members, member{key, value})
}

// replace makes the member name of parent a list of the values.
func (s Setting) replace(parent *node, name string, item func(string) *node) {
	l := s.node(list, "")
	for _, v := range s.Values {
		l.items = append(l.items, item(v))
	}
	put(parent, s.text(canonicalIn(parent, name)), l)
}

// tags makes the first value the tag, and the others the tags.
func (s Setting) tags(parent *node) {
	if len(s.Values) == 0 {
		return
	}
	put(parent, s.text("tag"), s.text(s.Values[0]))
	s.Values = s.Values[1:]
	if len(s.Values) > 0 || parent.index("tags") >= 0 {
		s.replace(parent, "tags", s.text)
	}
}

// copy reads SRC or SRC:DST.
func (s Setting) copy(v string) *node {
	i := strings.LastIndexByte(v, ':')
	if i < 0 || strings.HasPrefix(v[i:], "://") { // a URL, which the decoder refuses
		return s.text(v)
	}
	o := s.node(object, "")
	put(o, s.text("source"), s.text(v[:i]))
	put(o, s.text("target"), s.text(v[i+1:]))
	return o
}

// perm reads GLOB:MODE, GLOB:MODE:OWNER or GLOB:MODE:UID:GID.
func (s Setting) perm(v string, p *problems) *node {
	switch parts := strings.Split(v, ":"); len(parts) {
	case 2:
		return s.object("path", parts[0], "mode", parts[1])
	case 3:
		return s.object("path", parts[0], "mode", parts[1], "owner", parts[2])
	case 4:
		if isAccount(parts[2]) || isAccount(parts[3]) {
			return s.object("path", parts[0], "mode", parts[1], "owner", parts[2]+":"+parts[3])
		}
		return s.object("path", parts[0], "mode", parts[1], "uid", parts[2], "gid", parts[3])
	}
	p.add(s.text(v), s.Field, "got %s, want GLOB:MODE or GLOB:MODE:OWNER", quote(v))
	return s.node(invalid, "")
}

// colons reads an object whose values have colons between them; those at the end
// may be missing. The last one takes what is left.
func (s Setting) colons(v string, p *problems, names ...string) *node {
	parts := strings.SplitN(v, ":", len(names))
	pairs := make([]string, 0, 2*len(names))
	for i, part := range parts {
		pairs = append(pairs, names[i], part)
	}
	if parts[0] == "" {
		p.add(s.text(v), s.Field, "got %s, want %s", quote(v), strings.ToUpper(strings.Join(names, ":")))
		return s.node(invalid, "")
	}
	return s.object(pairs...)
}

// preset reads NAME or NAME=ARGUMENT.
func (s Setting) preset(v string) *node {
	name, argument, ok := strings.Cut(v, "=")
	if !ok {
		return s.text(v)
	}
	o := s.node(object, "")
	put(o, s.text(name), s.text(argument))
	return o
}

// mergeEnv puts variables into a list of NAME=value.
func (s Setting) mergeEnv(env *node) {
	if env.kind != list { // the decoder will say so
		return
	}
	at := map[string][]int{}
	for i, item := range env.items {
		if name, _, _ := strings.Cut(item.text, "="); item.kind == text {
			at[name] = append(at[name], i)
		}
	}
	for _, v := range s.Values {
		name, _, _ := strings.Cut(v, "=")
		if len(at[name]) == 0 {
			at[name] = []int{len(env.items)}
			env.items = append(env.items, nil)
		}
		for _, i := range at[name] {
			env.items[i] = s.text(v)
		}
	}
}

// mergePairs puts KEY=VALUE into a map, and takes labels out of config.Labels.
func (s Setting) mergePairs(root, parent *node, p *problems) {
	for _, v := range s.Values {
		key, val, ok := strings.Cut(v, "=")
		if !ok || key == "" {
			form := "KEY=VALUE"
			if s.Field == "symlinks" {
				form = "PATH=TEXT"
			}
			p.add(s.text(v), s.Field, "got %s, want %s", quote(v), form)
			continue
		}
		if target := s.child(parent, s.Field, object); target.kind == object {
			put(target, s.text(key), s.text(val))
		}
		if s.Field == "labels" {
			forgetLabel(root, key)
		}
	}
}

// forgetLabel takes a key out of root's config.Labels.
func forgetLabel(root *node, key string) {
	labels := root
	for _, name := range []string{"config", "Labels"} {
		i := labels.index(canonicalIn(labels, name))
		if i < 0 {
			return
		}
		labels = labels.members[i].value
	}
	if i := labels.index(key); i >= 0 {
		labels.members = append(labels.members[:i:i], labels.members[i+1:]...)
	}
}
