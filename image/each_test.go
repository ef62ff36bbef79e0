package image

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"

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

func gatedLayers(n int, g *gate) []Layer {
	var layers []Layer
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
					done <- Each(t.Context(), layers, func(context.Context, int, layer.Info) error { <-next; return nil })
				}()
				for i := range layers {
					synctest.Wait() // until nothing moves without the next visit
					asked := int(g.asked.Load())
					if most := i + 2*processors + 1; asked > most {
						t.Errorf("during visit %d, %d layers were asked, want at most %d", i, asked, most)
					}
					if least := min(i+processors+1, len(layers)); asked < least {
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
					done <- Each(t.Context(), layers, func(context.Context, int, layer.Info) error { return nil })
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
