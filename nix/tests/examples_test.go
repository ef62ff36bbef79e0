package tests

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// unstable are the examples that no two builds of are the same: the time is in
// them.
var unstable = []string{"unstableDate", "unstableDateLayered"}

// TestExamples builds all examples with a Nix that root uses alone, and with a
// daemon that builds in sandboxes as other users; twice each. All four times
// the bytes are the same. They are loaded into Docker and run.
func TestExamples(t *testing.T) {
	s := single(t)
	s.extra = "pulled = " + publish(t, s) + ";"
	all := s.list(t)
	hashes := s.buildAll(t, all)
	t.Run("docker", func(t *testing.T) {
		for _, sub := range subtests {
			t.Run(strings.ReplaceAll(sub.name, " ", "-"), func(t *testing.T) { sub.run(t, &loaded{s, all}) })
		}
	})
	t.Run("daemon", func(t *testing.T) {
		m := multi(t)
		m.extra = s.extra
		for path, hash := range m.buildAll(t, m.list(t)) {
			if hashes[path] != hash {
				t.Errorf("%s has the hash %s where root builds it, and %s where the daemon does", path, hashes[path], hash)
			}
		}
	})
}

// buildAll builds all examples, and those that stay the same again, and returns
// the hashes of their paths.
func (s *site) buildAll(t *testing.T, all map[string]example) map[string]string {
	t.Helper()
	var names, steady []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		names = append(names, name)
		if !slices.Contains(unstable, name) {
			steady = append(steady, name)
		}
	}
	built := s.build(t, examplesCalled(names))
	for _, name := range names {
		if !slices.Contains(built, all[name].Path) {
			t.Errorf("example %s was not built at %s", name, all[name].Path)
		}
	}
	paths := s.build(t, examplesCalled(steady), "--check")
	hashes := map[string]string{}
	lines := strings.Fields(s.Run(append([]string{"nix-store", "--query", "--hash"}, paths...)...))
	for i, path := range paths {
		hashes[path] = lines[i]
	}
	return hashes
}

// examplesCalled is Nix code for a list of examples.
func examplesCalled(names []string) string {
	return fmt.Sprintf("map (name: examples.${name}) [ %s ]", `"`+strings.Join(names, `" "`)+`"`)
}
