// Package debstore lays installed Debian packages out as a Nix-like store: one
// store path for each package, with its real files and dependencies. It serves
// tests, examples and benchmarks that need a realistic closure without Nix.
//
// Guarantees:
//
//   - A store path's name is a function of the package's name and version and
//     of its dependencies' store paths; its files have mode 0444 or 0555, its
//     directories 0555, and all of them the time 1.
//   - A store path appears whole or not at all. An existing one is left as it
//     is, so making a store again is quick, also by several at once.
//   - References have no cycles except of a path to itself: Debian's are cut
//     where a walk from the wanted packages closes them.
//
// Non-goals: packages whose store paths would differ although name, version
// and dependencies are the same (files that were changed by hand).
//
// Only tests and tools import this package.
package debstore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"
)

// Path is a store path in closure.json, as Nix's exportReferencesGraph has it.
type Path struct {
	Path string `json:"path"`
	// NarSize is the size in bytes of the path's files and links to files.
	NarSize int64 `json:"narSize"`
	// References are store paths, sorted; the path itself is one of them.
	References []string `json:"references"`
	// ClosureSize is the sum of NarSize over everything the path leads to.
	ClosureSize int64 `json:"closureSize"`
}

// Summary describes the size of a store.
type Summary struct {
	Paths, Edges int
	Bytes        int64
}

// Make lays out the packages and their dependencies in store, an absolute path. In
// out it writes closure.json, {"closure": [Path…]} with dependencies first, and
// roots, the store path of each wanted package on a line.
func Make(ctx context.Context, store, out string, packages []string) (Summary, error) {
	if !filepath.IsAbs(store) {
		return Summary{}, fmt.Errorf("make store %q: the path is not absolute", store)
	}
	status, err := installed(ctx)
	if err != nil {
		return Summary{}, err
	}
	plan, err := newPlan(filepath.Clean(store), status, packages)
	if err != nil {
		return Summary{}, err
	}
	for _, dir := range []string{store, out} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return Summary{}, fmt.Errorf("make store: %w", err)
		}
	}
	sizes := make([]int64, len(plan.order))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for i, name := range plan.order {
		group.Go(func() (err error) {
			sizes[i], err = layOut(ctx, name, plan.path[name])
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return Summary{}, err
	}
	paths, summary := plan.closure(sizes)
	return summary, errors.Join(writeClosure(filepath.Join(out, "closure.json"), paths),
		writeRoots(filepath.Join(out, "roots"), plan, packages))
}

func writeClosure(name string, paths []Path) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(map[string][]Path{"closure": paths}); err != nil {
		return fmt.Errorf("write closure: %w", err)
	}
	if err := os.WriteFile(name, bytes.TrimSuffix(b.Bytes(), []byte("\n")), 0o644); err != nil {
		return fmt.Errorf("write closure: %w", err)
	}
	return nil
}

func writeRoots(name string, p *plan, packages []string) error {
	var b strings.Builder
	for _, root := range packages {
		b.WriteString(p.path[root] + "\n")
	}
	if err := os.WriteFile(name, []byte(b.String()), 0o644); err != nil {
		return fmt.Errorf("write roots: %w", err)
	}
	return nil
}
