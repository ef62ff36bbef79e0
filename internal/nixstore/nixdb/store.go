package nixdb

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/varve-image/varve/internal/nixstore"
	"github.com/varve-image/varve/internal/nixstore/nixstate"
	"github.com/varve-image/varve/internal/regfile"
)

// storeClosure returns what the store's database says about roots and everything they
// refer to, sorted by path.
func storeClosure(ctx context.Context, s nixstate.Store, roots []string) ([]nixstore.PathInfo, error) {
	if s.StoreDir == "" {
		s.StoreDir = nixstore.DefaultStoreDir
	}
	place := nixstate.DatabaseFile(s.StoreDir)
	var infos []nixstore.PathInfo
	name, err := regfile.Resolve(s.Root, place) // SQLite opens by name
	if err = regfile.Cause(err); err == nil {
		err = readLive(ctx, name, s.TempDir, func(m *memory) (err error) {
			infos, err = closure(&reader{memory: m, storeDir: s.StoreDir, byID: map[int64]int{}}, roots)
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("read Nix database %q: %w", s.Root+place, err)
	}
	return infos, nil
}

const (
	// rootIDs selects the ids of the paths in a JSON list.
	rootIDs = "select id from main.ValidPaths where path in (select value from json_each(?))"
	// reached selects these ids and all that they lead to.
	reached = "with recursive reached(id) as (" + rootIDs +
		" union select reference from main.Refs join reached on referrer = id) "
	// listed selects these ids and those in another list.
	listed = "with listed(id) as (" + rootIDs + " union select value from json_each(?)) "
)

// closure reads the rows of a closure.
func closure(r *reader, roots []string) ([]nixstore.PathInfo, error) {
	for _, setup := range []func() error{r.harmless, r.tables} {
		if err := setup(); err != nil {
			return nil, err
		}
	}
	list, err := json.Marshal(roots)
	if err != nil {
		return nil, err
	}
	// One transaction, so that both queries see the same state.
	if err := r.exec("begin"); err != nil {
		return nil, err
	}
	if err := r.readRefs(reached+selected("Refs")+" join reached on referrer = id", string(list)); err != nil {
		return nil, err
	}
	ids, err := json.Marshal(r.mentioned())
	if err != nil {
		return nil, err
	}
	if err := r.readPaths(listed+selected("ValidPaths")+" join listed using (id)", string(list), string(ids)); err != nil {
		return nil, err
	}
	for _, step := range []func() error{func() error { return r.checkValid(roots) }, r.connect} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	infos := make([]nixstore.PathInfo, len(r.paths))
	for i, p := range r.paths {
		infos[i] = p.PathInfo
	}
	slices.SortFunc(infos, func(a, b nixstore.PathInfo) int { return strings.Compare(a.Path, b.Path) })
	return infos, nil
}

// mentioned returns the ids of the paths that the references are between.
func (r *reader) mentioned() []int64 {
	ids := make([]int64, 0, 2*len(r.refs))
	for _, one := range r.refs {
		ids = append(ids, one.from, one.to)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// checkValid looks for roots among the paths that were read.
func (r *reader) checkValid(roots []string) error {
	have := make(map[string]bool, len(r.paths))
	for _, p := range r.paths {
		have[p.Path] = true
	}
	var invalid []string
	for _, root := range roots {
		if !have[root] {
			invalid = append(invalid, root)
		}
	}
	if len(invalid) > 0 {
		return &nixstate.InvalidError{Paths: invalid}
	}
	return nil
}
