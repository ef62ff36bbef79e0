package tree

import (
	"context"
	"fmt"

	"github.com/varve-image/varve/internal/problems"
)

// Through returns the tree added, changed so that it can go on top of base without breaking it:
// entries below a directory that base has as a symlink are moved to where that leads, so that
// "bin/x" becomes "usr/bin/x" on a base where "bin" is a symlink to "usr/bin". Links are
// followed inside base: an absolute one starts at its root, and ".." stops there.
//
// An Implied directory that base has, and one that is made for moved entries, gets base's
// attributes and stays Implied. An explicit directory keeps its own. Where added has a directory
// and base something that neither is nor leads to one, or base has a directory and added
// something else, policy decides: ConflictError reports all of them, each a *MisfitError,
// ConflictFirst drops added's entries, ConflictLast keeps them, to replace what base has. Other
// files of base are replaced silently. Where added has a directory, a dangling symlink of base
// or a circle of links is an error under any policy but ConflictLast. Entries of added that end
// up at one path are merged as by Merge with policy.
//
// Both trees have to be canonical and complete. The result shares what it does
// not change with added.
func Through(ctx context.Context, base, added []*Entry, policy Conflicts) ([]*Entry, error) {
	parts, err := throughDirlinks(base, added)
	if err != nil {
		return nil, fmt.Errorf("add to the base: %w", err)
	}
	var bad problems.List
	for i, part := range parts {
		parts[i] = fitting(base, part, policy, &bad)
	}
	if err := bad.Err(); err != nil {
		return nil, fmt.Errorf("add to the base:\n%w", err)
	}
	moved, err := Merge(ctx, MergeOptions{Conflicts: policy}, parts...)
	if err != nil {
		return nil, fmt.Errorf("add to the base: %w", err)
	}
	for i, e := range moved {
		moved[i] = adopt(e, Find(base, e.Path))
	}
	return moved, nil
}

// fitting returns the entries that policy allows onto base.
func fitting(base, entries []*Entry, policy Conflicts, bad *problems.List) []*Entry {
	kept := make([]*Entry, 0, len(entries))
	dropped := "" // what is below it is dropped
	for _, e := range entries {
		if dropped != "" && below(e.Path, dropped) {
			continue
		}
		b := Find(base, e.Path)
		if policy == ConflictLast || fits(base, b, e) {
			kept = append(kept, e)
			continue
		}
		dropped = e.Path
		if reason := deadLink(base, b); reason != "" {
			bad.Addf("%q %s: %s", e.Path, from(e), reason)
		} else if policy == ConflictError {
			bad.Add(&MisfitError{Added: e, Base: b})
		}
	}
	return kept
}

// fits reports whether e may replace b, which may be nil: a directory may replace a directory,
// and anything else what is neither a directory nor leads to one. A symlink may replace a
// symlink.
func fits(base []*Entry, b, e *Entry) bool {
	switch {
	case b == nil, b.Type == Symlink && e.Type == Symlink:
		return true
	case b.Type == Dir || e.Type == Dir:
		return b.Type == e.Type
	}
	_, leadsToDir := dirlink(base, b.Path)
	return !leadsToDir
}

// adopt returns e with the attributes that its directory has in the base.
func adopt(e, base *Entry) *Entry {
	if base == nil || base.Type != Dir || !e.Implied {
		return e
	}
	c := *base
	c.Implied, c.Source = true, e.Source
	return &c
}

// deadLink returns why a symlink of the base leads nowhere, or "" if link is not a symlink or
// leads somewhere.
func deadLink(base []*Entry, link *Entry) string {
	if link.Type != Symlink {
		return ""
	}
	to, err := resolveIn(base, link.Path)
	switch {
	case err != nil:
		return fmt.Sprintf("the base has a symlink to %q there, which cannot be followed: %v", link.Linkname, err)
	case to.entry == nil:
		return fmt.Sprintf("the base has a symlink to %q there, and nothing at %q: add that directory to the base, or write to where it is meant to be", link.Linkname, to.path)
	}
	return ""
}

// MisfitError says that a base has something else at an entry's path. Policies other than
// ConflictError choose one of the two.
type MisfitError struct {
	Added, Base *Entry
}

func (e *MisfitError) Error() string {
	what := e.Base.Type.String()
	if e.Base.Type == Symlink {
		what = fmt.Sprintf("symlink to %q", e.Base.Linkname)
	}
	return fmt.Sprintf("%q %s is a %s, and the base has a %s there", e.Added.Path, from(e.Added), e.Added.Type, what)
}
