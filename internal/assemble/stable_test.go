package assemble

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/spec"
)

// withPlan is a build whose spec names a plan.
func withPlan(layers ...[]string) Options {
	return Options{OpenPlan: func(_ context.Context, ref spec.Base) ([][]string, error) {
		if !strings.HasSuffix(ref.Reference, "/layers.lock") || !ref.Local {
			return nil, errors.New("another plan")
		}
		return layers, nil
	}}
}

const planned = "name: a\ncontents: [" + appPath + "]\nlayering: stable\nprevious: layers.lock\n"

// TestStable: the plan is kept to, with what has no layer in an image, and explicit layers take their
// paths first.
func TestStable(t *testing.T) {
	dir := makeFiles(t, smallStore(nil))
	for _, tt := range []struct {
		name, text string
		plan       [][]string
		want       []string
	}{
		{"no plan", strings.Replace(planned, "previous: layers.lock\n", "", 1), nil, []string{"store " + libcPath, "store " + bashPath, "store " + appPath, "tree"}},
		{"a plan", planned, [][]string{nil, {appPath, libcPath}, nil}, []string{"store " + appPath + " " + libcPath, "store " + bashPath, "tree"}},
		{"a plan of other paths", planned, [][]string{{appPath, "/nix/store/dddddddddddddddddddddddddddddddd-gone"}},
			[]string{"store " + libcPath, "store " + bashPath, "store " + appPath, "tree"}},
		{"an explicit layer", planned + "layers: [{contents: [" + libcPath + "]}]\n", [][]string{{libcPath, bashPath}},
			[]string{"store " + bashPath, "store " + appPath, "store " + libcPath, "tree"}},
		{"two layers", planned + "maxLayers: 2\n", [][]string{{libcPath}}, []string{"store " + appPath + " " + bashPath + " " + libcPath, "tree"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := tryBuild(t, dir, tt.text, withPlan(tt.plan...))
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			wantPlan(t, r, tt.want...)
		})
	}
	r, err := tryBuild(t, dir, planned, Options{OpenPlan: func(context.Context, spec.Base) ([][]string, error) { return nil, errors.New("gone") }})
	if err == nil || err.Error() != "previous: gone" {
		t.Errorf("%v, %v", r, err)
	}
	if _, err := tryBuild(t, dir, planned, Options{}); err == nil || !strings.Contains(err.Error(), "previous: plans are not read here") {
		t.Error(err)
	}
}

// TestStableMeasures: sizes that the closure's source does not tell are those of the files.
func TestStableMeasures(t *testing.T) {
	dir := makeFiles(t, smallStore(map[string]string{
		"graph.json": `[{"path": "` + appPath + `", "references": ["` + bashPath + `", "` + libcPath + `"]},
			{"path": "` + bashPath + `", "references": ["` + libcPath + `"]}, {"path": "` + libcPath + `", "references": []}]`,
		"root" + bashPath + "/share/large": strings.Repeat("x", 5000),
	}))
	text := "name: a\ncontents: [" + appPath + "]\nlayering: stable\nmaxLayers: 3\n"
	searched := mustBuild(t, dir, text)
	told := mustBuild(t, dir, text+"closure: graph.json\n")
	if len(searched.Layers) != 3 || searched.Layers[0].Size == 0 {
		t.Errorf("%+v", searched.Layers)
	}
	for i, l := range told.Layers {
		if other := searched.Layers[i]; !slices.Equal(l.Paths, other.Paths) || l.Size != other.Size {
			t.Errorf("layer %d: %+v, and searched %+v", i+1, l, other)
		}
	}
}

// TestMarkKept: layers of store paths are compared by their paths, others by their diffIDs.
func TestMarkKept(t *testing.T) {
	dir := makeFiles(t, smallStore(map[string]string{"rootfs/etc/motd": "hello"}))
	text := "name: a\ncontents: [" + appPath + "]\nlayering: stable\ncopyToRoot: rootfs\n"
	r := mustBuild(t, dir, text)
	plan := [][]string{{libcPath}, {appPath, bashPath}, {appPath}}
	kept := func(diffIDs []digest.Digest) (kept []bool) {
		t.Helper()
		if err := r.MarkKept(t.Context(), plan, diffIDs); err != nil {
			t.Fatal(err)
		}
		for _, l := range r.Layers {
			kept = append(kept, *l.Kept)
		}
		return kept
	}
	if got := kept(nil); !slices.Equal(got, []bool{true, false, true, false}) {
		t.Errorf("by a plan file: %v", got)
	}
	if p := r.Pull(); p.KeptLayers != 2 || p.NewLayers != 2 || p.KeptBytes != r.Layers[0].Size+r.Layers[2].Size {
		t.Errorf("pulled: %+v", p)
	}
	stored, err := image.AsStored(t.Context(), r.Image)
	if err != nil {
		t.Fatal(err)
	}
	if got := kept(stored.DiffIDs); !slices.Equal(got, []bool{true, false, true, true}) {
		t.Errorf("by an image: %v", got)
	}
	if got := kept([]digest.Digest{}); got[3] {
		t.Error("an image without layers has the top layer")
	}
	if paths := stored.StorePaths(); len(paths) != 4 || !slices.Equal(paths[0], []string{libcPath}) || paths[3] != nil {
		t.Errorf("its own history tells %q", paths)
	}
}
