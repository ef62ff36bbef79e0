package tree

// redirect moves the part of a source below a directory that meets a symlink.
type redirect struct {
	from, to string
	part     int
}

// throughDirlinks splits the complete canonical tree source into trees to merge into base, in
// order: the entries that stay where they are, and for each of its directories that base has as
// a symlink to a directory, what is below it, moved to where the link leads. All trees but the
// first are copies.
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
		// A part that leads back to where another began is out of order.
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
	link := Find(tree, name)
	if link == nil || link.Type != Symlink {
		return "", false
	}
	to, err := resolveIn(tree, name)
	if err != nil || to.entry == nil || to.entry.Type != Dir {
		return "", false
	}
	return to.path, true
}
