package nixstore

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

// List returns the store paths that exist, sorted. A store directory that does not
// exist holds none. Roots are ignored.
func List(o ScanOptions) ([]string, error) {
	dir, err := cleanStoreDir(o.StoreDir)
	if err != nil {
		return nil, fmt.Errorf("list store: %w", err)
	}
	store, err := openStore(o.Root, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list store: %w", err)
	}
	defer store.Close()
	c, err := newCrawl(store, dir)
	if err != nil {
		return nil, fmt.Errorf("list store %q: %w", store.Name(), err)
	}
	var paths []string
	for base := range c.bases {
		paths = append(paths, dir+"/"+base)
	}
	slices.Sort(paths)
	return paths, nil
}
