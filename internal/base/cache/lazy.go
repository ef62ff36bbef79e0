package cache

import (
	"context"
	"sync"
)

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
