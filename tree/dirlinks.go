package tree

import (
	"path"
	"strings"
)

// maxLinks is how many symlinks Linux follows for one path.
const maxLinks = 40

// redirect moves the part of a source below a directory that meets a symlink.
type redirect struct {
	from, to string
	part     int
}

// throughDirlinks splits the complete canonical tree source into trees to merge into base, in
// order: those of its entries that stay where they are, and for each of its
// directories that base has as a symlink to a directory, what is below it, moved to
// where the link leads. Trees apart from the first are copies.
func throughDirlinks(base, source []*Entry) ([][]*Entry, error) {
	parts := [][]*Entry{nil}
	redirects := []redirect{{from: ".", to: "."}}
	for _, e := range source {
		top := redirects[len(redirects)-1]
		for !below(e.Path, top.from) && e.Path != top.from {
			redirects = redirects[:len(redirects)-1]
			top = redirects[len(redirects)-1]
		}
		name := rebase(e.Path, top.from, top.to)
		if e.Type == Dir {
			if to, ok := dirlink(base, name); ok {
				top = redirect{e.Path, to, len(parts)}
				redirects = append(redirects, top)
				parts = append(parts, nil)
				name = to
			}
		}
		if name != e.Path {
			c := *e
			c.Path = name
			e = &c
		}
		parts[top.part] = append(parts[top.part], e)
	}
	for i, part := range parts {
		// A part that leads back to where a part began is out of order.
		Sort(part)
		var err error
		if parts[i], err = complete(part); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

// dirlink returns the directory of tree that the symlink at name leads to.
func dirlink(tree []*Entry, name string) (string, bool) {
	link := find(tree, name)
	if link == nil || link.Type != Symlink {
		return "", false
	}
	at := "."
	pending := strings.Split(name, "/")
	for hops := 0; len(pending) > 0; {
		c := pending[0]
		pending = pending[1:]
		switch c {
		case "", ".":
			continue
		case "..":
			at = path.Dir(at) // of "." it is "."
			continue
		}
		next := path.Join(at, c)
		switch e := find(tree, next); {
		case e == nil:
			return "", false
		case e.Type == Dir:
			at = next
		case e.Type == Symlink:
			if hops++; hops > maxLinks {
				return "", false
			}
			if strings.HasPrefix(e.Linkname, "/") {
				at = "."
			}
			pending = append(strings.Split(e.Linkname, "/"), pending...)
		default:
			return "", false
		}
	}
	return at, true
}
