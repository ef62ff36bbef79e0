package rootfs

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/varve-image/varve/tree"
)

// maxLink is the longest symlink target that Linux allows: PATH_MAX includes the
// NUL, symlink(2).
const maxLink = 4095

// programLink is a preset that makes a symlink to a program.
type programLink struct {
	preset, path string
	// program is where an image has the program that the link leads to by default, and
	// packageName the package that has it.
	program, packageName string
}

// files makes a link to what the spec says, or to the program if the image has it. A
// lower layer's link stays, unless the spec gives a target.
func (l programLink) files(r Request) (Files, error) {
	there := tree.Lookup(r.Lower.Entries, l.path)
	var files Files
	target := r.Path
	switch {
	case there == nil || r.Lower.Covered(l.path):
		var err error
		if target, err = l.target(r); err != nil {
			return Files{}, err
		}
	case target == "" || there.Linkname == target:
		return Files{}, nil
	default:
		files.Warnings = []string{fmt.Sprintf("preset %s: /%s of the layers below is replaced by a link to %q; without an argument the preset leaves it as it is", l.preset, l.path, target)}
	}
	var err error
	files.Entries, err = l.link(target)
	return files, err
}

// target returns what the link leads to: what the spec says, or the program if the
// image has it.
func (l programLink) target(r Request) (string, error) {
	if r.Path != "" {
		return r.Path, nil
	}
	e := r.visible(l.program)
	switch {
	case e == nil:
		return "", fmt.Errorf("the image has no /%s: put %s into contents, or say what the link is to point at", l.program, l.packageName)
	case e.Type == tree.Symlink && strings.HasPrefix(e.Linkname, "/"):
		return e.Linkname, nil
	}
	return "/" + l.program, nil
}

// link returns the symlink to target, such as /nix/store/…-bash-5.2/bin/bash.
func (l programLink) link(target string) ([]*tree.Entry, error) {
	source := "preset " + l.preset
	if err := checkTarget(l.path, target); err != nil {
		return nil, fmt.Errorf("%s: target %s: %w", source, shorten(target), err)
	}
	return preset(source, tree.NewSymlink(l.path, target))
}

func checkTarget(name, target string) error {
	switch {
	case target == "":
		return errors.New("is empty: name the program that it should point to")
	case len(target) > maxLink:
		return fmt.Errorf("has %d bytes; a symlink holds at most %d", len(target), maxLink)
	case strings.Contains(target, "\x00"):
		return errors.New("holds a NUL byte")
	}
	resolved := target
	if !path.IsAbs(target) {
		resolved = path.Join("/", path.Dir(name), target)
	}
	if path.Clean(resolved) == "/"+name {
		return fmt.Errorf("is /%s itself", name)
	}
	return nil
}

// shorten quotes a string for a message and cuts one that would fill a screen.
func shorten(s string) string {
	const limit = 200
	if len(s) > limit {
		return fmt.Sprintf("%q…", s[:limit])
	}
	return fmt.Sprintf("%q", s)
}
