package tree

import (
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"slices"

	"github.com/varve-image/varve/internal/problems"
)

// Conflicts says what to do with different entries that two sources have for one path.
type Conflicts int

// The ways to treat conflicts.
const (
	// ConflictError reports all of them as one error.
	ConflictError Conflicts = iota
	// ConflictFirst keeps the first source's entry.
	ConflictFirst
	// ConflictLast keeps the last source's entry.
	ConflictLast
)

// MergeOptions are the options of Merge.
type MergeOptions struct {
	Conflicts Conflicts
	// KeepDirlinks writes a source's directory through a symlink that earlier sources put at its
	// path, if that leads to a directory of theirs, like rsync -K. Without it a directory that
	// meets a symlink is a conflict. Links are resolved inside the merged tree: an absolute
	// target starts at its root, and ".." stops there. A source is not written through its own
	// links. Each source costs time in proportion to all before it.
	KeepDirlinks bool
}

// Merge merges several trees into one canonical tree, with all parents present.
//
// Directories merge. An Implied directory takes the attributes of an explicit one. These are
// conflicts: two explicit directories that differ in mode, owner or extended attributes; other
// entries unless they are the same in type, mode, owner, extended attributes and target, device
// number or content; a directory and something else, of which the one that wins replaces the
// other with everything below it. Different times are not a conflict. Content is compared only
// where all else is equal and only under ConflictError, which needs to know; ctx ends the
// comparison.
//
// Under ConflictError all conflicts are reported together, as a *DifferenceError.
//
// Without KeepDirlinks the result shares its entries with the sources, and the list with a source
// that is the only one with entries. Sources that are not in
// canonical order are sorted. A source that has a path twice, or an entry below a non-directory,
// is an error.
func Merge(ctx context.Context, opts MergeOptions, sources ...[]*Entry) ([]*Entry, error) {
	var bad problems.List
	trees := make([][]*Entry, len(sources))
	for i, s := range sources {
		if !slices.IsSortedFunc(s, compareEntries) {
			s = slices.Clone(s)
			Sort(s)
		}
		var err error
		if trees[i], err = complete(s); err != nil {
			bad.Addf("source %d: %w", i+1, err)
		}
	}
	if err := bad.Err(); err != nil {
		return nil, fmt.Errorf("merge: %w", err)
	}
	trees = slices.DeleteFunc(trees, func(t []*Entry) bool { return len(t) == 0 })
	if len(trees) == 1 {
		return slices.Clip(trees[0]), nil
	}
	m := &merger{ctx: ctx, policy: opts.Conflicts}
	merged, err := m.all(trees, opts.KeepDirlinks)
	if err != nil {
		return nil, fmt.Errorf("merge: %w", err)
	}
	if err := m.conflicts.Err(); err != nil {
		return nil, &DifferenceError{err}
	}
	return merged, nil
}

// DifferenceError says at which paths sources have different entries. Policies other than
// ConflictError choose one of them.
type DifferenceError struct{ Err error }

func (e *DifferenceError) Error() string {
	return fmt.Sprintf("sources give different entries:\n%v", e.Err)
}

func (e *DifferenceError) Unwrap() error { return e.Err }

type merger struct {
	ctx       context.Context
	policy    Conflicts
	conflicts problems.List
	left      []byte // buffers for comparing contents
	right     []byte
}

func (m *merger) all(trees [][]*Entry, keepDirlinks bool) ([]*Entry, error) {
	if !keepDirlinks {
		return m.merge(trees)
	}
	var merged []*Entry
	for _, t := range trees {
		parts, err := throughDirlinks(merged, t)
		if err != nil {
			return nil, err
		}
		if merged, err = m.merge(append([][]*Entry{merged}, parts...)); err != nil {
			return nil, err
		}
	}
	return merged, nil
}

// candidate is an entry and the number of its source.
type candidate struct {
	entry  *Entry
	source int
}

// heads are the entries that several trees go on with, as a heap of the trees' numbers: by path,
// then by number.
type heads struct {
	trees [][]*Entry
	order []int
}

func newHeads(trees [][]*Entry) *heads {
	h := &heads{trees: slices.Clone(trees)}
	for i, t := range trees {
		if len(t) > 0 {
			h.order = append(h.order, i)
		}
	}
	heap.Init(h)
	return h
}

func (h *heads) Len() int      { return len(h.order) }
func (h *heads) Swap(i, j int) { h.order[i], h.order[j] = h.order[j], h.order[i] }
func (h *heads) Push(any)      {}

func (h *heads) Less(i, j int) bool {
	a, b := h.order[i], h.order[j]
	return cmp.Or(Compare(h.trees[a][0].Path, h.trees[b][0].Path), cmp.Compare(a, b)) < 0
}

func (h *heads) Pop() any {
	h.order = h.order[:len(h.order)-1]
	return nil
}

// next returns the entries for the next path, in the order of their sources, in place of group.
func (h *heads) next(group []candidate) []candidate {
	group = group[:0]
	for len(h.order) > 0 {
		source := h.order[0]
		e := h.trees[source][0]
		if len(group) > 0 && e.Path != group[0].entry.Path {
			break
		}
		group = append(group, candidate{e, source})
		if h.trees[source] = h.trees[source][1:]; len(h.trees[source]) > 0 {
			heap.Fix(h, 0)
		} else {
			heap.Pop(h)
		}
	}
	return group
}

// scope says what the entry chosen for a path means for entries below it.
type scope struct {
	path string
	// since is the first source whose entries below count: those of earlier sources were
	// replaced.
	since int
	// closed says that the entry is not a directory: nothing below counts.
	closed bool
}

// merge merges complete canonical trees.
func (m *merger) merge(trees [][]*Entry) ([]*Entry, error) {
	longest := 0
	for _, t := range trees {
		longest = max(longest, len(t))
	}
	merged := make([]*Entry, 0, longest+len(trees))
	var scopes []scope
	var group []candidate
	for list := newHeads(trees); list.Len() > 0; {
		group = list.next(group)
		name := group[0].entry.Path
		for len(scopes) > 0 && !below(name, scopes[len(scopes)-1].path) {
			scopes = scopes[:len(scopes)-1]
		}
		here := scope{path: name}
		if len(scopes) > 0 {
			outer := scopes[len(scopes)-1]
			if outer.closed {
				continue
			}
			here.since = outer.since
		}
		counts := group
		for len(counts) > 0 && counts[0].source < here.since {
			counts = counts[1:]
		}
		if len(counts) == 0 {
			continue
		}
		winner, since, err := m.choose(counts)
		if err != nil {
			return nil, err
		}
		merged = append(merged, winner)
		here.since, here.closed = max(here.since, since), winner.Type != Dir
		scopes = append(scopes, here)
	}
	return merged, nil
}

// choose returns which of the entries for one path stays, and the first source whose entries
// below it count.
func (m *merger) choose(group []candidate) (winner *Entry, since int, err error) {
	winner = group[0].entry
	for _, c := range group[1:] {
		if err := m.ctx.Err(); err != nil {
			return nil, 0, err
		}
		e := c.entry
		switch {
		case winner.Type == Dir && e.Type == Dir && (winner.Implied || e.Implied):
			if winner.Implied && !e.Implied {
				winner = e
			}
		case m.policy == ConflictLast:
			if (winner.Type == Dir) != (e.Type == Dir) {
				since = c.source
			}
			winner = e
		case m.policy == ConflictError:
			what, err := m.difference(winner, e)
			if err != nil {
				return nil, 0, err
			}
			if what != "" {
				m.conflicts.Addf("%q: %s: %s and %s", winner.Path, what, from(winner), from(e))
			}
		}
	}
	return winner, since, nil
}
