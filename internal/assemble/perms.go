package assemble

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/varve-image/varve/internal/human"
	"github.com/varve-image/varve/internal/problems"
	"github.com/varve-image/varve/spec"
	"github.com/varve-image/varve/tree"
)

// finish is what happens to a layer's tree at last.
type finish struct {
	// field is the field of perms, and blame that of conflicts with the layers below,
	// which policy decides.
	field, blame string
	perms        []spec.PermRule
	policy       tree.Conflicts
	// lower are the files of the layers below.
	lower []*tree.Entry
}

// finished is a layer's tree as it fits on the layers below, and the stack of both.
type finished struct {
	tree, lifted []*tree.Entry
	on           stack
}

// finish applies perms to the tree of a layer, and puts it on the layers below.
// Rules that match nothing in it are for files of those layers: the layer gets copies
// of them.
func (b *builder) finish(ctx context.Context, below stack, own []*tree.Entry, as finish) (finished, error) {
	var f finished
	rules, err := b.rules(ctx, below, own, as)
	fates, ownErr := applyRules(as.field, own, rules)
	var liftErr error
	if slices.Contains(fates, idle) {
		f.lifted, liftErr = b.lift(ctx, below, own, as, rules, fates)
	}
	if err := errors.Join(err, ownErr, liftErr); err != nil {
		return finished{}, err
	}
	if len(f.lifted) > 0 {
		below = below.replaced(f.lifted)
		if own, err = tree.Merge(ctx, tree.MergeOptions{Conflicts: tree.ConflictFirst}, own, f.lifted); err != nil {
			return finished{}, specError(as.field, err)
		}
	}
	f.tree, f.on, err = below.put(ctx, own, as.policy)
	return f, specError(as.blame, err)
}

// rules returns the rules of perms, with the owners that they have by name.
func (b *builder) rules(ctx context.Context, below stack, own []*tree.Entry, as finish) ([]tree.Rule, error) {
	rules := make([]tree.Rule, len(as.perms))
	var m *maker
	var bad problems.List
	for i, p := range as.perms {
		rules[i] = tree.Rule{Path: p.Path, Mode: p.Mode, UID: p.UID, GID: p.GID, Capabilities: p.Capabilities}
		if p.Owner == nil {
			continue
		}
		if m == nil && p.Owner.Named() {
			var err error
			if m, err = b.makeFiles(ctx, below, own); err != nil {
				return nil, specError(as.field, err)
			}
		}
		uid, gid, err := m.lookUp(*p.Owner)
		bad.Add(specError(fmt.Sprintf("%s[%d].owner", as.field, i), err))
		rules[i].UID, rules[i].GID = &uid, &gid
	}
	return rules, bad.Err()
}

// fate is what became of a rule in the layer's own tree.
type fate int

const (
	applied fate = iota
	idle         // it matches nothing
	failed
)

// applyRules applies rules to a finished tree, except for its whiteouts, and returns
// what became of each.
func applyRules(field string, entries []*tree.Entry, rules []tree.Rule) ([]fate, error) {
	entries, _ = tree.Whiteouts(entries)
	fates := make([]fate, len(rules))
	var bad problems.List
	for i, rule := range rules {
		var none *tree.NoMatchError
		if err := rule.Apply(entries); errors.As(err, &none) {
			fates[i] = idle
		} else if err != nil {
			fates[i] = failed
			bad.Add(specError(fmt.Sprintf("%s[%d]", field, i), err))
		}
	}
	return fates, bad.Err()
}

// lifted are copies of files of the layers below, with other attributes.
type lifted struct {
	copies map[string]*tree.Entry
	// below are the files of the layers below that the image shows, and names those
	// that are names of one file.
	below []*tree.Entry
	names map[any][]*tree.Entry
}

// lift returns copies of the files below that idle rules change. Those that were
// applied change the copies too, in the order of all.
func (b *builder) lift(ctx context.Context, below stack, own []*tree.Entry, as finish, rules []tree.Rule, fates []fate) ([]*tree.Entry, error) {
	_, on, err := below.put(ctx, own, tree.ConflictLast)
	if err != nil {
		return nil, specError(as.blame, err)
	}
	l := &lifted{copies: map[string]*tree.Entry{}, names: map[any][]*tree.Entry{}}
	for _, e := range on.entries {
		if tree.Find(as.lower, e.Path) != e {
			continue
		}
		l.below = append(l.below, e)
		if file := e.File(); file != nil {
			l.names[file] = append(l.names[file], e)
		}
	}
	var bad problems.List
	for i, rule := range rules {
		rule.Path = tree.ThroughLinks(on.entries, rule.Path)
		var err error
		switch fates[i] {
		case applied:
			err = l.change(rule)
		case idle:
			err = l.copy(rule, as.perms[i].Path)
		}
		bad.Add(specError(fmt.Sprintf("%s[%d]", as.field, i), err))
	}
	if err := bad.Err(); err != nil {
		return nil, err
	}
	return b.changed(ctx, below.base, as.field, l)
}

// copy applies a rule, which the spec has with the glob written, to copies of what it
// matches.
func (l *lifted) copy(rule tree.Rule, written string) error {
	matched, err := rule.Select(l.below)
	switch {
	case err != nil:
		return err
	case len(matched) == 0:
		return &tree.NoMatchError{Path: written}
	case rule.Mode != nil && !slices.ContainsFunc(matched, func(e *tree.Entry) bool { return e.Type != tree.Symlink }):
		return rule.Apply([]*tree.Entry{new(*matched[0])}) // which says why not
	}
	for _, e := range matched {
		for _, name := range append(l.names[e.File()], e) {
			if l.copies[name.Path] == nil {
				l.copies[name.Path] = new(*name)
			}
		}
	}
	return l.change(rule)
}

// change applies a rule to the copies, and as chmod does to all names of a file.
func (l *lifted) change(rule tree.Rule) error {
	copies := l.sorted()
	if _, _, err := rule.Try(copies); err != nil {
		return err
	}
	matched, err := rule.Select(copies)
	for _, from := range matched {
		for _, name := range l.names[from.File()] {
			to := l.copies[name.Path]
			to.Mode, to.UID, to.GID, to.Xattrs = from.Mode, from.UID, from.GID, from.Xattrs
		}
	}
	return err
}

func (l *lifted) sorted() []*tree.Entry {
	all := slices.Collect(maps.Values(l.copies))
	tree.Sort(all)
	return all
}

// changed returns the copies that differ from what they are copies of, and says how
// much it is.
func (b *builder) changed(ctx context.Context, base *base, field string, l *lifted) ([]*tree.Entry, error) {
	for _, e := range l.below {
		c := l.copies[e.Path]
		if c != nil && c.Mode == e.Mode && c.UID == e.UID && c.GID == e.GID && maps.Equal(c.Xattrs, e.Xattrs) {
			delete(l.copies, e.Path)
		}
	}
	all := l.sorted()
	if len(all) == 0 {
		return nil, nil
	}
	tree.LinkFiles(all)
	for _, e := range all {
		e.Implied = false
	}
	if err := b.tellLifted(ctx, base, field, all); err != nil {
		return nil, err
	}
	return tree.Complete(all)
}

// tellLifted says what a layer has again, and makes it cheap to read.
func (b *builder) tellLifted(ctx context.Context, base *base, field string, all []*tree.Entry) error {
	var size int64
	seen := map[any]bool{}
	for _, e := range all {
		if file := e.File(); e.Size > 0 && (file == nil || !seen[file]) {
			size += e.Size
			seen[file] = true
		}
	}
	b.notes = append(b.notes, fmt.Sprintf("%s: to change %s of the layers below, the layer has them again: %s", field, human.Count(len(all), "file"), human.Size(size)))
	if base == nil {
		return nil
	}
	if err := base.overlay.SpoolFiles(ctx, all); err != nil {
		return fmt.Errorf("fromImage: %w", err)
	}
	return nil
}
