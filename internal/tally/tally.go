// Package tally counts what is done to layers while images are built and copied: what is read to
// know a digest, compressed, sent, and what is spared.
//
// Guarantees:
//
//   - A context carries the tally. Without one nothing is counted, at no cost.
//   - What is counted changes nothing of what is written.
//   - A layer counts once for each kind, however often it is worked on.
//
// Non-goals: when and how it is shown.
package tally

import (
	"context"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
)

// Kind is something that is done to a layer, or spared.
type Kind int

const (
	// Hashed layers were read to know their digests. Bytes are the tar's.
	Hashed Kind = iota
	// Compressed layers went through a compressor. Bytes are the tar's.
	Compressed
	// Reused layers have a digest, or a compressed form, that was known before. Bytes are the tar's.
	Reused
	// Sent layers were written to the destination. Bytes are those that it got.
	Sent
	// Skipped layers were at the destination already. Bytes are the blob's.
	Skipped
	// Mounted layers a registry took from another of its repositories. Bytes are the blob's.
	Mounted
	kinds
)

// Work is what was done to one layer, in bytes.
type Work struct {
	Hashed, Compressed, Reused, Sent, Skipped, Mounted int64
}

// Amount is how much was done of one kind.
type Amount struct {
	Layers int
	// Files counts the regular files in layers, where it is known: of those hashed and reused.
	Files int64
	Bytes int64
}

// Tally counts. The methods of a nil one do nothing.
type Tally struct {
	mu      sync.Mutex
	layers  map[any]*[kinds]amount
	running []*Step // in the order they were begun
}

type amount struct {
	counted      bool
	files, bytes int64
}

type contextKey struct{}

// With returns a context with a tally: the one that it has, or a new one.
func With(ctx context.Context) context.Context {
	if From(ctx) != nil {
		return ctx
	}
	return context.WithValue(ctx, contextKey{}, &Tally{layers: map[any]*[kinds]amount{}})
}

// From returns the context's tally, or nil.
func From(ctx context.Context) *Tally {
	t, _ := ctx.Value(contextKey{}).(*Tally)
	return t
}

// Add counts what was done to a layer. It may be called several times for one, which then add
// up; but a layer that was reused is that once, and the destination has what it was sent.
func (t *Tally) Add(k Kind, layer any, bytes, files int64) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.of(layer)
	switch k {
	case Sent:
		l[Skipped] = amount{} // the destination did not have it after all
	case Hashed, Compressed:
	case Reused:
		if l[k].counted || l[Compressed].counted { // compressed for one place, it serves the next
			return
		}
	default:
		if l[k].counted || l[Sent].counted {
			return
		}
	}
	l[k].counted = true
	l[k].bytes += bytes
	l[k].files += files
}

// of returns the amounts of a layer, which is known by its identity.
func (t *Tally) of(layer any) *[kinds]amount {
	if other, ok := layer.(interface{ TalliedAs() any }); ok { // it stands for another
		layer = other.TalliedAs()
	}
	if !reflect.ValueOf(layer).Comparable() {
		layer = new(byte) // each time another layer
	}
	l := t.layers[layer]
	if l == nil {
		l = &[kinds]amount{}
		t.layers[layer] = l
	}
	return l
}

// Work returns what was done to a layer so far.
func (t *Tally) Work(layer any) Work {
	if t == nil {
		return Work{}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.of(layer)
	return Work{
		Hashed: l[Hashed].bytes, Compressed: l[Compressed].bytes, Reused: l[Reused].bytes,
		Sent: l[Sent].bytes, Skipped: l[Skipped].bytes, Mounted: l[Mounted].bytes,
	}
}

// Total returns how much was done of a kind.
func (t *Tally) Total(k Kind) Amount {
	var sum Amount
	if t == nil {
		return sum
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range t.layers {
		if l[k].counted {
			sum.Layers++
			sum.Files += l[k].files
			sum.Bytes += l[k].bytes
		}
	}
	return sum
}

// Spared returns how many layers need not be made, or need not be sent.
func (t *Tally) Spared() int {
	if t == nil {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, l := range t.layers {
		if l[Reused].counted || l[Skipped].counted || l[Mounted].counted {
			n++
		}
	}
	return n
}

// Step is something that takes time. The methods of a nil one do nothing.
type Step struct {
	tally       *Tally
	what, title string
	size        int64
	done        atomic.Int64
}

// Begin says that something is being done, such as "hashing", to what has the title. The size
// is how many bytes there are; 0 means unknown. End ends it.
func Begin(ctx context.Context, what, title string, size int64) *Step {
	t := From(ctx)
	if t == nil {
		return nil
	}
	s := &Step{tally: t, what: what, title: title, size: size}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.running = append(t.running, s)
	return s
}

// Add says that n more bytes are done.
func (s *Step) Add(n int) {
	if s != nil {
		s.done.Add(int64(n))
	}
}

// Write adds p's length and keeps nothing.
func (s *Step) Write(p []byte) (int, error) {
	s.Add(len(p))
	return len(p), nil
}

// End ends the step.
func (s *Step) End() {
	if s == nil {
		return
	}
	s.tally.mu.Lock()
	defer s.tally.mu.Unlock()
	s.tally.running = slices.DeleteFunc(s.tally.running, func(other *Step) bool { return other == s })
}

// Now is what is being done.
type Now struct {
	What, Title string
	// Done is how many bytes of Size are done; Size 0 means unknown.
	Done, Size int64
}

// Now returns what was begun last of what is being done.
func (t *Tally) Now() (Now, bool) {
	if t == nil {
		return Now{}, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.running) == 0 {
		return Now{}, false
	}
	s := t.running[len(t.running)-1]
	return Now{What: s.what, Title: s.title, Done: s.done.Load(), Size: s.size}, true
}
