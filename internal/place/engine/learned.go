package engine

import "sync"

// learned is what is found out about an engine when it is first needed, maybe by several at once: it
// is the same for all of them.
type learned[T any] struct {
	mu    sync.Mutex
	value T
	known bool
}

// get returns it, and whether it is known.
func (l *learned[T]) get() (T, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.value, l.known
}

func (l *learned[T]) set(value T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.value, l.known = value, true
}
