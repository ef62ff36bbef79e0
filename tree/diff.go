package tree

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/varve-image/varve/internal/problems"
)

// Diff returns the entries of the layer that leads from the tree lower to the
// tree upper, as OpenOverlay reads it: what is new or differs, and whiteouts for
// what is gone, all with their parent directories as upper has them. If nothing
// differs there are no entries.
//
// Entries differ in type, mode, owner, time, extended attributes, link target,
// device number or content. Contents are compared only where nothing else
// differs and the two are not the same *Entry; the contents of an Overlay should
// be spooled before. An Implied directory of upper counts as being as lower has
// it.
//
// Whiteouts are regular files without content, named ".wh.NAME", mode 0 and
// owned by 0:0: one for each path that is gone, but none below a path that is
// itself gone or not a directory any more. Names in upper that begin with ".wh."
// cannot be expressed in a layer and are an error.
//
// Missing parents are implied in both. The result is canonical, and shares
// entries with upper.
func Diff(ctx context.Context, lower, upper []*Entry) ([]*Entry, error) {
	return diff(&differ{merger: merger{ctx: ctx}}, lower, upper)
}

// DiffEntries is like Diff but reads no content: what the two have for one path is the same if it
// is the same *Entry.
func DiffEntries(ctx context.Context, lower, upper []*Entry) ([]*Entry, error) {
	return diff(&differ{merger: merger{ctx: ctx}, shallow: true}, lower, upper)
}

func diff(d *differ, lower, upper []*Entry) ([]*Entry, error) {
	var err error
	if lower, err = Complete(lower); err != nil {
		return nil, fmt.Errorf("compare trees: the lower: %w", err)
	}
	if upper, err = Complete(upper); err != nil {
		return nil, fmt.Errorf("compare trees: the upper: %w", err)
	}
	for len(lower) > 0 || len(upper) > 0 {
		if err := d.merger.ctx.Err(); err != nil {
			return nil, err
		}
		var l, u *Entry
		switch order := compareFirst(lower, upper); {
		case order < 0:
			l, lower = lower[0], lower[1:]
		case order > 0:
			u, upper = upper[0], upper[1:]
		default:
			l, lower = lower[0], lower[1:]
			u, upper = upper[0], upper[1:]
		}
		if err := d.step(l, u); err != nil {
			return nil, fmt.Errorf("compare trees: %w", err)
		}
	}
	if err := d.bad.Err(); err != nil {
		return nil, fmt.Errorf("compare trees: %w", err)
	}
	Sort(d.out) // a whiteout's name differs from the name that it hides
	return d.out, nil
}

// compareFirst compares the first paths of two lists. An empty list comes last.
func compareFirst(lower, upper []*Entry) int {
	switch {
	case len(lower) == 0:
		return 1
	case len(upper) == 0:
		return -1
	}
	return compareEntries(lower[0], upper[0])
}

// differ is the state of one Diff.
type differ struct {
	merger merger
	// shallow says that different entries differ.
	shallow bool
	out     []*Entry
	// dirs are upper's directories above the current path; the first done of
	// them are in out.
	dirs []*Entry
	done int
	// gone is the last path of lower below which everything is ignored.
	gone string
	bad  problems.List
}

// step handles one path, which lower or upper may lack.
func (d *differ) step(lower, upper *Entry) error {
	if upper == nil {
		if d.gone != "" && below(lower.Path, d.gone) {
			return nil
		}
		d.gone = lower.Path
		d.leave(lower.Path)
		d.emit(whiteout(lower.Path))
		return nil
	}
	if strings.HasPrefix(path.Base(upper.Path), WhiteoutPrefix) {
		d.bad.Addf("%q %s: in a layer a name that begins with %q deletes", upper.Path, from(upper), WhiteoutPrefix)
		return nil
	}
	if lower != nil && lower.Type == Dir && upper.Type != Dir {
		d.gone = lower.Path
	}
	differs, err := d.differs(lower, upper)
	if err != nil {
		return err
	}
	d.leave(upper.Path)
	if upper.Type == Dir {
		if lower != nil && lower.Type == Dir && upper.Implied {
			upper = lower
		}
		d.dirs = append(d.dirs, upper)
	}
	if differs {
		d.emit(upper)
	}
	return nil
}

// leave goes back to the directories above name.
func (d *differ) leave(name string) {
	for len(d.dirs) > 0 && !below(name, d.dirs[len(d.dirs)-1].Path) {
		d.dirs = d.dirs[:len(d.dirs)-1]
	}
	d.done = min(d.done, len(d.dirs))
}

// emit adds e with its parent directories.
func (d *differ) emit(e *Entry) {
	d.out = append(d.out, d.dirs[d.done:]...)
	d.done = len(d.dirs)
	if len(d.dirs) == 0 || d.dirs[len(d.dirs)-1] != e {
		d.out = append(d.out, e)
	}
}

func (d *differ) differs(lower, upper *Entry) (bool, error) {
	switch {
	case lower == nil:
		return true, nil
	case lower == upper, lower.Type == Dir && upper.Type == Dir && upper.Implied:
		return false, nil
	case d.shallow, lower.ModTime != upper.ModTime:
		return true, nil
	}
	what, err := d.merger.difference(lower, upper)
	return what != "", err
}

// whiteout returns the entry that hides name.
func whiteout(name string) *Entry {
	dir, base := path.Split(name)
	e := NewFile(dir+WhiteoutPrefix+base, 0, "")
	e.Source = "what is not there any more"
	return e
}

// Hidden returns the path that an entry of a layer hides, if it is a whiteout as
// Diff makes them, and otherwise the entry's own path.
func Hidden(e *Entry) (path string, ok bool) {
	i := strings.LastIndexByte(e.Path, '/') + 1
	name, ok := strings.CutPrefix(e.Path[i:], WhiteoutPrefix)
	if !ok {
		return e.Path, false
	}
	return e.Path[:i] + name, true
}

// Whiteouts splits the entries of a layer into what it adds and its whiteouts.
func Whiteouts(entries []*Entry) (added, whiteouts []*Entry) {
	for _, e := range entries {
		if _, ok := Hidden(e); ok {
			whiteouts = append(whiteouts, e)
		} else {
			added = append(added, e)
		}
	}
	return added, whiteouts
}
