package dockerarchive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/layer"
)

// gate counts how many layers were asked for their digest, and how many are
// being asked.
type gate struct {
	open          chan struct{} // nil, or closed to let them answer
	asked, inside atomic.Int32
}

// gatedLayer answers once its gate is open.
type gatedLayer struct {
	gate  *gate
	asked atomic.Bool
}

func (l *gatedLayer) Title() string { return "gated" }

func (l *gatedLayer) Info(ctx context.Context) (layer.Info, error) {
	if l.asked.CompareAndSwap(false, true) {
		l.gate.asked.Add(1)
	}
	l.gate.inside.Add(1)
	defer l.gate.inside.Add(-1)
	if l.gate.open != nil {
		select {
		case <-l.gate.open:
		case <-ctx.Done():
		}
	}
	return layer.Info{}, ctx.Err()
}

func (l *gatedLayer) Write(context.Context, io.Writer) error { return nil }

func gatedLayers(n int, g *gate) []image.Layer {
	var layers []image.Layer
	for range n {
		layers = append(layers, &gatedLayer{gate: g})
	}
	return layers
}

// TestEachLooksAhead: while a visit takes its time the layers after it are
// hashed, but no more of them than the page cache is likely to hold.
func TestEachLooksAhead(t *testing.T) {
	for _, processors := range []int{1, 2, 8} {
		t.Run(fmt.Sprint(processors), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
			synctest.Test(t, func(t *testing.T) {
				g := &gate{}
				layers := gatedLayers(100, g)
				next, done := make(chan struct{}), make(chan error)
				go func() {
					done <- each(t.Context(), layers, hashAhead, func(ctx context.Context, i int) error {
						err := hashAhead(ctx, layers[i])
						<-next
						return err
					})
				}()
				for i := range layers {
					synctest.Wait() // until nothing moves without the next visit
					asked := int(g.asked.Load())
					if most := i + 2*processors + layersAhead + 1; asked > most {
						t.Errorf("during visit %d, %d layers were asked, want at most %d", i, asked, most)
					}
					if least := min(i+processors+layersAhead+1, len(layers)); asked < least {
						t.Errorf("during visit %d, %d layers were asked, want at least %d", i, asked, least)
					}
					next <- struct{}{}
				}
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestEachHashesAtOnce: as many layers as there are processors, and the one
// that the next visit waits for.
func TestEachHashesAtOnce(t *testing.T) {
	for _, processors := range []int{1, 2, 8} {
		t.Run(fmt.Sprint(processors), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
			synctest.Test(t, func(t *testing.T) {
				g := &gate{open: make(chan struct{})}
				layers := gatedLayers(100, g)
				done := make(chan error)
				go func() {
					done <- each(t.Context(), layers, hashAhead, func(ctx context.Context, i int) error { return hashAhead(ctx, layers[i]) })
				}()
				synctest.Wait()
				if n := int(g.inside.Load()); n < processors || n > processors+1 {
					t.Errorf("%d layers are hashed at once, want %d", n, processors)
				}
				close(g.open)
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestEachStops: an error, of a layer or of a visit, ends it all, and so does the context.
func TestEachStops(t *testing.T) {
	broken := errors.New("broken")
	layers := gatedLayers(50, &gate{})
	for name, at := range map[string]int{"ahead": 20, "visit": 3, "context": 3} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			visits := 0
			err := each(ctx, layers, func(_ context.Context, l image.Layer) error {
				if name == "ahead" && l == layers[at] {
					return broken
				}
				return nil
			}, func(ctx context.Context, i int) error {
				if i != visits {
					t.Errorf("visit %d is of layer %d", visits, i)
				}
				visits++
				switch {
				case i < at:
				case name == "visit":
					return broken
				case name == "context":
					cancel()
				}
				return nil
			})
			want := broken
			if name == "context" {
				want = context.Canceled
			}
			if !errors.Is(err, want) || name != "ahead" && visits != at+1 {
				t.Errorf("%v after %d visits", err, visits)
			}
		})
	}
}
