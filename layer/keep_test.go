package layer_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/varve-image/varve/layer"
)

// TestKeep: what is kept while a layer of small files is hashed is its tar.
func TestKeep(t *testing.T) {
	for kind, opts := range kinds {
		t.Run(kind, func(t *testing.T) {
			root := manySmall(t)
			want := writeLayer(t, layer.New(owned(root, 0, 1), opts))
			var kept bytes.Buffer
			l := layer.New(owned(root, 0, 1), opts)
			info, ok, err := l.Keep(context.Background(), &kept)
			if err != nil || !ok || !bytes.Equal(kept.Bytes(), want) {
				t.Fatalf("kept %d of %d bytes: %v, %v", kept.Len(), len(want), ok, err)
			}
			if got := "sha256:" + sha(want); info.DiffID.String() != got || info.Size != int64(len(want)) {
				t.Errorf("Keep says %+v, the layer is %s", info, got)
			}
			// Now it is known, and read only to be written.
			again, ok, err := l.Keep(context.Background(), nil)
			if again != info || ok || err != nil {
				t.Errorf("a second Keep: %+v, %v, %v", again, ok, err)
			}
			if got := writeLayer(t, l); !bytes.Equal(got, want) {
				t.Error("the layer has other bytes after Keep")
			}
		})
	}
}

// TestKeepRemembers: the memo learns as much as from Info, and what it knows is not read.
func TestKeepRemembers(t *testing.T) {
	for kind, opts := range kinds {
		opts.Memo = newMapMemo()
		root := manySmall(t)
		for _, want := range []bool{true, false} {
			l := layer.New(owned(root, 0, 1), opts)
			if _, ok, err := l.Keep(context.Background(), io.Discard); ok != want || err != nil || l.Reused() == want {
				t.Errorf("%s: kept: %v, reused: %v, %v", kind, ok, l.Reused(), err)
			}
		}
	}
}

// TestKeepNot: large files are not kept, and a place that is full fails nothing.
func TestKeepNot(t *testing.T) {
	full := writerFunc(func([]byte) (int, error) { return 0, errors.New("full") })
	for what, c := range map[string]struct {
		root string
		keep io.Writer
	}{"large": {smallTree(t), io.Discard}, "full": {manySmall(t), full}} {
		l := layer.New(owned(c.root, 0, 1), kinds["tree"])
		info, ok, err := l.Keep(context.Background(), c.keep)
		if ok || err != nil || "sha256:"+sha(writeLayer(t, l)) != info.DiffID.String() {
			t.Errorf("%s: %+v, kept: %v, %v", what, info, ok, err)
		}
	}
	root := manySmall(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, ok, err := layer.New(owned(root, 0, 1), kinds["tree"]).Keep(ctx, io.Discard); ok || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: kept: %v, %v", ok, err)
	}
}
