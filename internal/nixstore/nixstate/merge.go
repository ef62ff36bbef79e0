package nixstate

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/varve-image/varve/internal/problems"
)

// Merge returns the paths of lower, the database of a base image, and of upper,
// which is added to it. What lower says about a path stays, completed by upper's
// signatures and what lower lacks. A path whose content differs in the two is
// an error: the image shows files of both.
func Merge(lower, upper []Path) ([]Path, error) {
	merged := slices.Clone(lower)
	at := make(map[string]int, len(lower))
	for i, p := range lower {
		at[p.Path] = i
	}
	var bad problems.List
	for _, p := range upper {
		i, ok := at[p.Path]
		if !ok {
			merged = append(merged, p)
			continue
		}
		have := &merged[i]
		if have.NarHash != p.NarHash {
			bad.Addf("path %.300q: its files are not those that the base image's database has under this name (NAR hash %s, and %s there)",
				p.Path, p.NarHash, have.NarHash)
		}
		have.Sigs = united(have.Sigs, p.Sigs)
		have.Deriver = cmp.Or(have.Deriver, p.Deriver)
		have.CA = cmp.Or(have.CA, p.CA)
		if len(have.Outputs) == 0 {
			have.Outputs = p.Outputs
		}
	}
	if err := bad.Err(); err != nil {
		return nil, fmt.Errorf("merge Nix databases: %w", err)
	}
	return merged, nil
}

// united returns a and the elements of b that are not in it.
func united(a, b []string) []string {
	all := slices.Clone(a)
	for _, s := range b {
		if !slices.Contains(a, s) {
			all = append(all, s)
		}
	}
	return all
}
