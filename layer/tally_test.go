package layer_test

import (
	"context"
	"testing"

	"github.com/varve-image/varve/internal/tally"
	"github.com/varve-image/varve/layer"
)

// TestTally: the first Info of a layer counts what it reads, and later ones nothing.
func TestTally(t *testing.T) {
	for kind, opts := range kinds {
		t.Run(kind, func(t *testing.T) {
			ctx := tally.With(context.Background())
			l := layer.New(owned(smallTree(t), 0, 1), opts)
			for range 2 {
				info, err := l.Info(ctx)
				if err != nil {
					t.Fatal(err)
				}
				got := tally.From(ctx).Total(tally.Hashed)
				if got.Bytes != info.Size || got.Layers != 1 || got.Files == 0 {
					t.Errorf("%+v for a layer of %d bytes", got, info.Size)
				}
			}
			if now, busy := tally.From(ctx).Now(); busy {
				t.Errorf("%+v goes on", now)
			}
		})
	}
}
