package tally

import (
	"context"
	"io"
	"sync"
	"testing"
)

func TestCounts(t *testing.T) {
	ctx := With(context.Background())
	if With(ctx) != ctx {
		t.Error("a context with a tally got another")
	}
	n := From(ctx)
	a, b, list := new(int), new(int), []int{1}
	n.Add(Hashed, a, 10, 2)
	n.Add(Hashed, a, 10, 1)
	n.Add(Reused, b, 5, 1)
	n.Add(Reused, b, 5, 1)
	n.Add(Skipped, b, 3, 0)
	n.Add(Mounted, a, 7, 0)
	n.Add(Sent, list, 7, 0) // it cannot be a key
	n.Add(Sent, list, 7, 0)
	for k, want := range map[Kind]Amount{
		Hashed: {1, 3, 20}, Compressed: {}, Reused: {1, 1, 5}, Sent: {2, 0, 14}, Skipped: {1, 0, 3}, Mounted: {1, 0, 7},
	} {
		if got := n.Total(k); got != want {
			t.Errorf("kind %d: %+v, want %+v", k, got, want)
		}
	}
	if got, want := n.Work(a), (Work{Hashed: 20, Mounted: 7}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := n.Spared(); got != 2 {
		t.Errorf("%d spared, want 2", got)
	}
}

// TestSentAndThere: what was sent is there for the image's next tag, which spares nothing.
func TestSentAndThere(t *testing.T) {
	n := From(With(context.Background()))
	n.Add(Sent, "layer", 5, 0)
	n.Add(Skipped, "layer", 5, 0)
	n.Add(Mounted, "layer", 5, 0)
	if n.Spared() != 0 || n.Total(Skipped) != (Amount{}) {
		t.Errorf("%d spared, %+v skipped", n.Spared(), n.Total(Skipped))
	}
}

func TestSteps(t *testing.T) {
	ctx := With(context.Background())
	n := From(ctx)
	if _, busy := n.Now(); busy {
		t.Error("busy at the start")
	}
	one := Begin(ctx, "hashing", "one", 0)
	two := Begin(ctx, "compressing", "two", 10)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() { _, _ = io.WriteString(two, "x") })
	}
	all.Wait()
	if now, busy := n.Now(); !busy || now != (Now{"compressing", "two", 4, 10}) {
		t.Errorf("%+v, %v", now, busy)
	}
	two.End()
	one.Add(3)
	if now, busy := n.Now(); !busy || now != (Now{"hashing", "one", 3, 0}) {
		t.Errorf("%+v, %v", now, busy)
	}
	one.End()
	one.End()
	if now, busy := n.Now(); busy {
		t.Errorf("busy at the end: %+v", now)
	}
}

func TestNone(t *testing.T) {
	ctx := context.Background()
	n := From(ctx)
	n.Add(Hashed, "layer", 1, 1)
	s := Begin(ctx, "hashing", "layer", 0)
	if k, err := s.Write([]byte("abc")); k != 3 || err != nil {
		t.Errorf("%d, %v", k, err)
	}
	s.End()
	if _, busy := n.Now(); busy || n.Total(Hashed) != (Amount{}) || n.Work("layer") != (Work{}) || n.Spared() != 0 {
		t.Error("something is counted without a tally")
	}
}
