package rootfs

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/varve-image/varve/internal/suggest"
	"github.com/varve-image/varve/tree"
)

// Accounts are the users and groups that an image knows: its /etc/passwd and
// /etc/group, and their shadow files, where it has any.
type Accounts struct {
	passwd, group, shadow, gshadow *list
}

// list is one of the files.
type list struct {
	path string
	// file is the file as it is; nil if there is none.
	file  *tree.Entry
	lines []string
	// names and ids lead to the first line of each, as in the C library.
	names   map[string]*row
	ids     map[uint32]*row
	changed bool
}

// row is a line that has a name.
type row struct {
	fields []string
	// line is the number of the line, from 0.
	line int
}

// ReadAccounts reads the lists of a file system. A *LowerError says that one of them
// cannot be read.
func ReadAccounts(files Lower) (*Accounts, error) {
	a := &Accounts{}
	for _, l := range []struct {
		path string
		to   **list
	}{{"etc/passwd", &a.passwd}, {"etc/group", &a.group}, {"etc/shadow", &a.shadow}, {"etc/gshadow", &a.gshadow}} {
		e, text, err := files.read(l.path)
		if err != nil {
			return nil, err
		}
		made := &list{path: l.path, file: e, names: map[string]*row{}, ids: map[uint32]*row{}}
		for line := range strings.Lines(text) {
			made.put(strings.TrimSuffix(line, "\n"))
		}
		*l.to = made
	}
	return a, nil
}

// put appends a line. Comments, and lines that include other lists, have no name.
func (l *list) put(line string) {
	r := &row{strings.Split(line, ":"), len(l.lines)}
	l.lines = append(l.lines, line)
	name := r.fields[0]
	if name == "" || strings.ContainsAny(name[:1], "#+-") {
		return
	}
	if l.names[name] == nil {
		l.names[name] = r
	}
	if id, ok := r.id(2); ok && l.ids[id] == nil {
		l.ids[id] = r
	}
}

// add appends a line of these fields.
func (l *list) add(fields ...string) {
	l.put(strings.Join(fields, ":"))
	l.changed = true
}

// begin gives a list that does not exist the lines that the preset nss gives it.
func (l *list) begin(preset accounts) {
	if l.file == nil && len(l.lines) == 0 {
		l.add(preset.first)
		l.add(preset.last)
	}
}

// id returns a field that is an id.
func (r *row) id(field int) (uint32, bool) {
	n, err := strconv.ParseUint(r.field(field), 10, 64)
	return uint32(n), err == nil && n <= tree.MaxID
}

// field returns a field, or "" if the line has fewer.
func (r *row) field(i int) string {
	if i < len(r.fields) {
		return r.fields[i]
	}
	return ""
}

// join adds a name to the members of a group, which are its last field. It reports
// whether there is such a group.
func (l *list) join(group, member string) bool {
	r := l.names[group]
	if r == nil {
		return false
	}
	members := strings.FieldsFunc(r.field(3), func(c rune) bool { return c == ',' })
	if slices.Contains(members, member) {
		return true
	}
	for len(r.fields) < 4 {
		r.fields = append(r.fields, "")
	}
	r.fields[3] = strings.Join(append(members, member), ",")
	l.lines[r.line], l.changed = strings.Join(r.fields, ":"), true
	return true
}

// Changed returns the lists that have other lines than before, as the files that an
// image gets.
func (a *Accounts) Changed() []*tree.Entry {
	var entries []*tree.Entry
	for _, l := range []*list{a.passwd, a.group, a.shadow, a.gshadow} {
		text := ended(strings.Join(l.lines, "\n"))
		switch {
		case !l.changed:
		case l.file == nil:
			entries = append(entries, tree.NewFile(l.path, 0o644, text))
		default:
			entries = append(entries, withText(l.file, text))
		}
	}
	return entries
}

// User returns the ids of a user and of the user's group. An error names a user who
// may have been meant. Without a list there is root.
func (a *Accounts) User(name string) (uid, gid uint32, err error) {
	if r := a.passwd.names[name]; r != nil {
		uid, ok := r.id(2)
		gid, groupOK := r.id(3)
		if !ok || !groupOK {
			return 0, 0, fmt.Errorf("the line of /etc/passwd has no valid ids: %s", shorten(strings.Join(r.fields, ":")))
		}
		return uid, gid, nil
	}
	if name == "root" && a.passwd.missing() {
		return 0, 0, nil
	}
	return 0, 0, a.passwd.unknown("user", "users", name)
}

// Group returns the id of a group.
func (a *Accounts) Group(name string) (gid uint32, err error) {
	if r := a.group.names[name]; r != nil {
		gid, ok := r.id(2)
		if !ok {
			return 0, fmt.Errorf("the line of /etc/group has no valid id: %s", shorten(strings.Join(r.fields, ":")))
		}
		return gid, nil
	}
	if name == "root" && a.group.missing() {
		return 0, nil
	}
	return 0, a.group.unknown("group", "groups", name)
}

// missing reports whether the image has no such list.
func (l *list) missing() bool { return l.file == nil && len(l.lines) == 0 }

// unknown is the error for a name that the list does not have.
func (l *list) unknown(kind, field, name string) error {
	if l.missing() {
		return fmt.Errorf("the %s %q is not known in the image, which has no /%s: write the number, or add the %s with %s", kind, name, l.path, kind, field)
	}
	hint := fmt.Sprintf("write the number, or add the %s with %s", kind, field)
	if near := suggest.Nearest(name, slices.Collect(maps.Keys(l.names))); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	return fmt.Errorf("the image's /%s does not have the %s %q: %s", l.path, kind, name, hint)
}
