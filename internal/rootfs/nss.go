package rootfs

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/varve-image/varve/tree"
)

// nss returns what the C library needs to know users and hosts: /etc/passwd
// and /etc/group with root and nobody (65534), /etc/nsswitch.conf, and
// /var/empty, the home of both users. /var/empty has mode 0555, like directories
// of the Nix store: nobody but root can put anything there.
//
// The lines of extraPasswd and extraGroup, without newlines, stand between
// root and nobody. A passwd line has seven fields (passwd(5)), a group line
// four (group(5)), ids are numbers up to tree.MaxID, and no name occurs twice.
//
// Lists in lower layers are added to. There root and nobody yield to whoever has
// the name or the id already, and an extra line yields to an equal line; an extra
// line that shares only its name or its id with another is an error.
// /etc/nsswitch.conf and /var/empty yield to what is there.
//
// The error lists all lines that are wrong; a *LowerError says that a list cannot
// be read.
func nss(extraPasswd, extraGroup []string, lower Lower) ([]*tree.Entry, error) {
	users, err := passwdList().entry(extraPasswd, lower)
	groups, groupErr := groupList().entry(extraGroup, lower)
	if err := errors.Join(err, groupErr); err != nil {
		return nil, fmt.Errorf("preset nss: %w", err)
	}
	entries := append(users, groups...)
	for _, e := range []*tree.Entry{tree.NewFile("etc/nsswitch.conf", 0o644, "hosts: files dns\n"), tree.NewDir("var/empty", 0o555)} {
		if lower.visible(e.Path) == nil {
			entries = append(entries, e)
		}
	}
	return preset("preset nss", entries...)
}

// passwdList and groupList describe the two lists.
func passwdList() accounts {
	return accounts{path: "etc/passwd", fields: 7, id: 2, ids: []int{2, 3},
		first: "root:x:0:0:root user:/var/empty:/bin/sh", last: "nobody:x:65534:65534:nobody:/var/empty:/bin/sh"}
}

func groupList() accounts {
	return accounts{path: "etc/group", fields: 4, id: 2, ids: []int{2}, first: "root:x:0:", last: "nobody:x:65534:"}
}

// accounts describes one of the two lists.
type accounts struct {
	path        string
	fields      int
	id          int    // the field that holds the id of the line
	ids         []int  // the fields that hold an id
	first, last string // the preset's own lines
}

// kind returns the list's name in messages.
func (a accounts) kind() string { return path.Base(a.path) }

// entry makes the list, or adds to the one of lower layers; there is no entry if
// that has everything already.
func (a accounts) entry(extra []string, lower Lower) ([]*tree.Entry, error) {
	e, text, err := lower.read(a.path)
	if err != nil {
		return nil, err
	}
	below := a.known(text)
	if err := a.check(extra, below); err != nil {
		return nil, err
	}
	lines := ended(text)
	for i, line := range slices.Concat([]string{a.first}, extra, []string{a.last}) {
		name, id := a.key(line)
		own := i == 0 || i == len(extra)+1
		if below.lines[line] || own && (below.names[name] != "" || below.ids[id] != "") {
			continue
		}
		lines += line + "\n"
	}
	switch {
	case e == nil:
		return []*tree.Entry{tree.NewFile(a.path, 0o644, lines)}, nil
	case lines == ended(text):
		return nil, nil
	}
	return []*tree.Entry{withText(e, lines)}, nil
}

// known holds what a list has: its lines, and the line of each name and id.
type known struct {
	lines      map[string]bool
	names, ids map[string]string
}

func (a accounts) known(text string) known {
	k := known{map[string]bool{}, map[string]string{}, map[string]string{}}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		name, id := a.key(line)
		if k.lines[line] = true; name != "" && !strings.HasPrefix(name, "#") {
			k.names[name], k.ids[id] = line, line
		}
	}
	delete(k.ids, "")
	return k
}

// key returns the name and the id of a line.
func (a accounts) key(line string) (name, id string) {
	fields := strings.Split(line, ":")
	if len(fields) > a.id {
		id = fields[a.id]
	}
	return fields[0], id
}

// check reports which extra lines are malformed, or conflict with each other or
// with those below.
func (a accounts) check(extra []string, below known) error {
	var errs []error
	seen := map[string]bool{"root": true, "nobody": true}
	for i, line := range extra {
		name, id := a.key(line)
		err := a.checkLine(line)
		switch {
		case err != nil || below.lines[line]:
		case seen[name]:
			err = fmt.Errorf("there is a %q already", name)
		case below.names[name] != "":
			err = fmt.Errorf("a lower layer has a %q already: %s", name, shorten(below.names[name]))
		case below.ids[id] != "":
			err = fmt.Errorf("a lower layer has the id %s already: %s", id, shorten(below.ids[id]))
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("extra %s line %d, %s: %w", a.kind(), i+1, shorten(line), err))
		}
		seen[name] = true
	}
	return errors.Join(errs...)
}

func (a accounts) checkLine(line string) error {
	if strings.ContainsFunc(line, unicode.IsControl) {
		return errors.New("holds a newline or another control character; give each line as an item of its own")
	}
	fields := strings.Split(line, ":")
	if len(fields) != a.fields {
		return fmt.Errorf("has %d fields instead of %d, which colons separate", len(fields), a.fields)
	}
	if fields[0] == "" {
		return errors.New("has no name")
	}
	for _, i := range a.ids {
		id, err := strconv.ParseUint(fields[i], 10, 64)
		if err != nil || id > tree.MaxID {
			return fmt.Errorf("field %d is %q instead of a number from 0 to %d", i+1, fields[i], uint64(tree.MaxID))
		}
	}
	return nil
}
