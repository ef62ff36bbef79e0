package cache

import (
	"context"
	"path/filepath"
	"sync"
)

// DefaultDir returns the directory of a user's cache by the variables of the environment
// that lookup finds, or "" if they name none.
func DefaultDir(lookup func(string) (string, bool)) string {
	// The XDG base directory specification says to ignore relative paths.
	if dir, ok := lookup("XDG_CACHE_HOME"); ok && filepath.IsAbs(dir) {
		return filepath.Join(dir, "varve")
	}
	if home, ok := lookup("HOME"); ok && filepath.IsAbs(home) {
		return filepath.Join(home, ".cache", "varve")
	}
	return ""
}

// Lazy is the cache in a directory, opened when it is first used.
type Lazy struct {
	// Dir is the directory; empty means no cache.
	Dir string

	mu     sync.Mutex
	opened *Store
}

// Open returns the cache, or nil if there is none.
func (l *Lazy) Open(ctx context.Context) (*Store, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.Dir == "" || l.opened != nil {
		return l.opened, nil
	}
	var err error
	l.opened, err = Open(ctx, l.Dir)
	return l.opened, err
}

// Close closes the cache, if it was opened.
func (l *Lazy) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.opened == nil {
		return nil
	}
	return l.opened.Close()
}
