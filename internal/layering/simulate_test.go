package layering

import (
	"math"
	"slices"
	"testing"
)

// TestSimulate: of two versions with one path renamed, and one with a path more.
func TestSimulate(t *testing.T) {
	var versions []*Graph
	for _, text := range []string{
		"x-libc=100 x-lib=50>x-libc x-app=10>x-lib x-doc=2",
		"x-libc=100 x-lib=50>x-libc y-app=10>x-lib x-doc=2",
		"x-libc=100 x-lib=50>x-libc y-app=10>x-lib x-doc=2 x-more=8",
	} {
		versions = append(versions, mustGraph(t, nodesOf(t, text)))
	}
	all, err := Simulate(t.Context(), versions, 3)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		want := []float64{12, 20}
		if s.Way == OnePerPath {
			want = []float64{10, 8}
		}
		share := (want[0] + want[1]) / (162 + 170)
		if !slices.Equal(s.Sent, want) || s.MeanSent != (want[0]+want[1])/2 || math.Abs(s.Share-share) > 1e-9 || s.Stored < 1 || s.Planned && s.Way != "stable" {
			t.Errorf("%+v", s)
		}
	}
	if one, err := Simulate(t.Context(), versions[:1], 3); err != nil || len(one) != 5 || one[0].Share != 0 || one[0].Stored != 1 {
		t.Errorf("one version: %+v, %v", one, err)
	}
}

// TestSimulatePlan: with a plan less is sent when a path is removed and another added.
func TestSimulatePlan(t *testing.T) {
	_, nodes := debianImages(t)
	before := byRule(t, nodes["postgres"], "path")
	after := byRule(t, nodes["python"], "path")
	ways, err := Simulate(t.Context(), []*Graph{before, after, before}, 25)
	if err != nil {
		t.Fatal(err)
	}
	sent := map[bool]float64{}
	for _, s := range ways {
		if s.Way == "stable" {
			sent[s.Planned] = s.MeanSent
		}
	}
	if sent[true] >= sent[false] {
		t.Errorf("sent without and with a plan: %v", sent)
	}
}
