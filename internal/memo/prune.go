package memo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"github.com/varve-image/varve/internal/flock"
	"github.com/varve-image/varve/internal/regfile"
)

// TryExclusive is OpenExclusive without a wait: if another process uses the memo, the error is a
// *flock.BusyError, wrapped.
func TryExclusive(ctx context.Context, dir string) (*Memo, error) {
	return open(ctx, dir, flock.Exclusive, false)
}

// OpenShared opens a memo that exists to read what is in it while no process removes anything. It
// returns fs.ErrNotExist, wrapped, if there is none.
func OpenShared(ctx context.Context, dir string) (*Memo, error) {
	m, err := Look(dir)
	if err == nil {
		err = m.join(ctx, flock.Shared, true)
	}
	if err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// Look opens a memo that exists to list what is in it, without keeping others from removing it. It
// returns fs.ErrNotExist, wrapped, if there is none.
func Look(dir string) (*Memo, error) {
	m := &Memo{dir: dir, warn: func(error) {}, good: map[string]bool{}}
	if err := m.openRoot(false); err != nil {
		m.Close()
		return nil, &DirError{dir, regfile.Cause(err)}
	}
	return m, nil
}

// Prune removes the items that were not used since before, and what killed processes have left. It
// returns what it removed; with dryRun, what it would. The memo has to be open exclusively, but
// with dryRun. An item that cannot be removed does not keep the others.
func (m *Memo) Prune(ctx context.Context, before time.Time, dryRun bool) ([]Item, error) {
	items, err := m.List(ctx)
	if err != nil {
		return nil, err
	}
	if !dryRun {
		if err := m.removeLeftovers(ctx); err != nil {
			return nil, err
		}
	}
	var gone []Item
	var errs []error
	for _, item := range items {
		if !item.Used.Before(before) {
			continue
		}
		if !dryRun {
			if err := m.root.Remove(item.name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, fmt.Errorf("cache %q: remove %s: %w", m.dir, item, regfile.Cause(err)))
				continue
			}
		}
		gone = append(gone, item)
	}
	return gone, errors.Join(errs...)
}

// removeLeftovers removes what killed processes have left. Nobody writes while the memo is open
// exclusively. What cannot be removed does no harm.
func (m *Memo) removeLeftovers(ctx context.Context) error {
	return m.each(ctx, func(kind Kind, name string, info fs.FileInfo) error {
		if leftover(name) && !info.IsDir() {
			_ = m.root.Remove(path.Join(string(kind), name))
		}
		return nil
	})
}

// Kept reports whether something was added to the memo.
func (m *Memo) Kept() bool {
	if m == nil {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.kept
}
