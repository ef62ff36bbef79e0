package base_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/base"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/spec"
)

// plan reads the plan that a reference names.
func (s *site) plan(t *testing.T, ref string, change func(*base.Options)) (*base.Plan, error) {
	t.Helper()
	opts := s.opts
	if change != nil {
		change(&opts)
	}
	r := base.New(opts)
	defer r.Close()
	s.requests.Store(0)
	return r.Plan(t.Context(), spec.Base{Reference: ref, Written: ref}, s.lock)
}

// TestPlanOfImage: an image that holds a plan is pinned as a base is, and none of its layers is
// fetched.
func TestPlanOfImage(t *testing.T) {
	s := newSite(t)
	var unpinned *base.UnpinnedError
	if _, err := s.plan(t, s.tagged(), nil); !errors.As(err, &unpinned) || !strings.Contains(err.Error(), "previous image") || s.requests.Load() > 0 {
		t.Errorf("a tag: %v, and %d requests", err, s.requests.Load())
	}
	for _, change := range []func(*base.Options){unlocked, uncached, nil} {
		ref := s.digested()
		if change != nil {
			ref = s.tagged()
			s.writeLock(t, s.manifest)
		}
		plan, err := s.plan(t, ref, change)
		if err != nil || len(plan.DiffIDs) != 1 || len(plan.Layers) != 1 || plan.Layers[0] != nil {
			t.Errorf("%+v, %v", plan, err)
		}
	}
	if plan, err := s.plan(t, s.digested(), locked); err != nil || s.requests.Load() > 0 || len(plan.DiffIDs) != 1 {
		t.Errorf("locked: %v, and %d requests", err, s.requests.Load())
	}
	img, err := s.open(t, s.digested(), locked)
	if err == nil {
		_, err = img.StoredLayers()[0].Info(t.Context())
	}
	if err == nil {
		t.Error("the layer is in the cache")
	}
}

func TestPlanFile(t *testing.T) {
	s := newSite(t)
	root := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	below := func(o *base.Options) { o.Root = root }
	write("layers.lock", "varve layers 1\n\n/b\n/a\n\n/c\n")
	plan, err := s.plan(t, "/layers.lock", below)
	if err != nil || len(plan.Layers) != 2 || !slices.Equal(plan.Layers[0], []string{"/b", "/a"}) || plan.DiffIDs != nil {
		t.Errorf("%+v, %v", plan, err)
	}
	write("x.lock", "{}")
	for name, want := range map[string]string{"/x.lock": "line 1", "/gone.lock": "file does not exist"} {
		_, err := s.plan(t, name, below)
		var wrong *place.RefError
		if err == nil || !strings.Contains(err.Error(), want) || !errors.As(err, &wrong) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
