package rootfs

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/varve-image/varve/tree"
)

// NSS returns what the C library needs to know users and hosts: /etc/passwd
// and /etc/group with root and nobody (65534), /etc/nsswitch.conf, and
// /var/empty, the home of both users. /var/empty has mode 0555, as a directory
// of the Nix store has: nobody but root can put anything there.
//
// The lines of extraPasswd and extraGroup, without newlines, stand between
// root and nobody. A passwd line has seven fields (passwd(5)), a group line
// four (group(5)), ids are numbers up to tree.MaxID, and no name occurs twice.
// The error tells all lines that are wrong.
func NSS(extraPasswd, extraGroup []string) ([]*tree.Entry, error) {
	passwd := accounts{kind: "passwd", fields: 7, ids: []int{2, 3}}
	group := accounts{kind: "group", fields: 4, ids: []int{2}}
	err := errors.Join(passwd.check(extraPasswd), group.check(extraGroup))
	if err != nil {
		return nil, fmt.Errorf("preset nss: %w", err)
	}
	return assemble("preset nss",
		file("etc/passwd", 0o644, lines(
			"root:x:0:0:root user:/var/empty:/bin/sh", extraPasswd,
			"nobody:x:65534:65534:nobody:/var/empty:/bin/sh")),
		file("etc/group", 0o644, lines("root:x:0:", extraGroup, "nobody:x:65534:")),
		file("etc/nsswitch.conf", 0o644, "hosts: files dns\n"),
		dir("var/empty", 0o555),
	), nil
}

func lines(first string, between []string, last string) string {
	var b strings.Builder
	b.WriteString(first + "\n")
	for _, line := range between {
		b.WriteString(line + "\n")
	}
	b.WriteString(last + "\n")
	return b.String()
}

// accounts is the form of one of the two files.
type accounts struct {
	kind   string // as messages call the file
	fields int
	ids    []int // the fields that hold an id
}

func (a accounts) check(extra []string) error {
	var errs []error
	seen := map[string]bool{"root": true, "nobody": true}
	for i, line := range extra {
		name, _, _ := strings.Cut(line, ":")
		err := a.checkLine(line)
		if err == nil && seen[name] {
			err = fmt.Errorf("there is a %q already", name)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("extra %s line %d, %s: %w", a.kind, i+1, shorten(line), err))
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
