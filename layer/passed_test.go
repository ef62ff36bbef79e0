package layer_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// TestPassed: a layer is written from what the pass before has seen, as long as all layers together
// do not keep too much, and is the same.
func TestPassed(t *testing.T) {
	small := smallTree(t)
	many := t.TempDir()
	for i := range 10_000 { // two of these are too much
		if err := os.WriteFile(filepath.Join(many, fmt.Sprintf("%05d", i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	shared := new(layer.Passed)
	for _, c := range []struct {
		name, root string
		passes     int
	}{{"many", many, 1}, {"again", many, 2}, {"few beside them", small, 1}} {
		passes := 0
		entries := func() tree.Seq {
			passes++
			return owned(c.root, 0, 1)()
		}
		opts := kinds["store"]
		var want, got bytes.Buffer
		if err := layer.New(entries, opts).Write(context.Background(), &want); err != nil {
			t.Fatal(err)
		}
		opts.Passed = shared
		passes = 0
		l := layer.New(entries, opts)
		if _, err := l.Info(context.Background()); err != nil {
			t.Fatal(err)
		}
		if c.name != "many" { // whose entries stay
			if err := l.Write(context.Background(), &got); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), want.Bytes()) {
				t.Errorf("%s: other bytes", c.name)
			}
		}
		if passes != c.passes {
			t.Errorf("%s: %d passes over the directories, want %d", c.name, passes, c.passes)
		}
		if c.name == "few beside them" { // what was taken is there no more
			if err := l.Write(context.Background(), io.Discard); err != nil || passes != 2 {
				t.Errorf("written again: %v, %d passes", err, passes)
			}
		}
	}
}

// TestPassedChangeInSecret: where only the change time shows that a file was rewritten after the
// pass before, the layer is hashed once more.
func TestPassedChangeInSecret(t *testing.T) {
	for _, name := range []string{"m-large", "a-first"} {
		root := smallTree(t)
		l := layer.New(owned(root, 0, 1), kindsAndKept()["store, entries kept"])
		if _, err := l.Info(context.Background()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond) // the clock of change times may be that coarse
		if err := rewriteInSecret(filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
		wantErrorNaming(t, l.Write(context.Background(), io.Discard), name)
	}
}
