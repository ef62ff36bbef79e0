package nixdb

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/varve-image/varve/internal/nixstore/nixstate"
	"github.com/varve-image/varve/internal/problems"
)

// pageSize is the size of the database's pages in bytes.
const pageSize = 4096

// Write writes the database of paths. No path may be given twice, and each
// reference has to be to one of them. Their order does not matter. All faults are
// reported together, before anything is written.
func Write(ctx context.Context, w io.Writer, paths []nixstate.Path) error {
	data, err := encode(ctx, paths)
	if err != nil {
		return fmt.Errorf("make Nix database: %w", err)
	}
	if _, err := w.Write(data); err != nil {
		return fmt.Errorf("write Nix database: %w", err)
	}
	return nil
}

// encode returns the database's file.
func encode(ctx context.Context, paths []nixstate.Path) ([]byte, error) {
	paths = slices.SortedFunc(slices.Values(paths), func(a, b nixstate.Path) int { return strings.Compare(a.Path, b.Path) })
	ids, err := number(paths)
	if err != nil {
		return nil, err
	}
	m, err := openMemory(ctx)
	if err != nil {
		return nil, err
	}
	defer m.close()
	// Rows are valid already, and the writing order is not that of the keys.
	err = m.exec(fmt.Sprintf("pragma page_size = %d; pragma foreign_keys = off;", pageSize) + schema + "begin")
	for _, fill := range []func(*memory, []nixstate.Path, map[string]int64) error{insertPaths, insertRefs, insertOutputs} {
		if err == nil {
			err = fill(m, paths, ids)
		}
	}
	if err == nil {
		err = m.exec("commit")
	}
	if err != nil {
		return nil, err
	}
	data, err := m.serialize()
	if err != nil {
		return nil, err
	}
	stamp(data)
	return data, nil
}

// number gives the sorted paths their ids, which start with 1.
func number(paths []nixstate.Path) (map[string]int64, error) {
	ids := make(map[string]int64, len(paths))
	var bad problems.List
	for i, p := range paths {
		if ids[p.Path] != 0 {
			bad.Addf("path %.300q is given twice", p.Path)
		}
		if p.NarHash == "" {
			bad.Addf("path %.300q: its NAR hash is not given", p.Path)
		}
		if err := p.CheckClaims(); err != nil {
			bad.Add(err)
		}
		ids[p.Path] = int64(i) + 1
	}
	for _, p := range paths {
		for _, ref := range p.References {
			if ids[ref] == 0 {
				bad.Addf("path %.300q: its reference %.300q is not given", p.Path, ref)
			}
		}
	}
	return ids, bad.Err()
}

func insertPaths(m *memory, paths []nixstate.Path, ids map[string]int64) error {
	in := m.insert("ValidPaths", 9)
	for _, p := range paths {
		in.row(ids[p.Path], p.Path, p.NarHash.String(), p.RegistrationTime, orNull(p.Deriver),
			orNull(int64(p.NarSize)), orNull(ultimate(p.Ultimate)), orNull(strings.Join(p.Sigs, " ")), orNull(p.CA))
	}
	return in.done()
}

func insertRefs(m *memory, paths []nixstate.Path, ids map[string]int64) error {
	in := m.insert("Refs", 2)
	for _, p := range paths {
		var to []int64
		for _, ref := range p.References {
			to = append(to, ids[ref])
		}
		slices.Sort(to)
		for _, id := range slices.Compact(to) {
			in.row(ids[p.Path], id)
		}
	}
	return in.done()
}

func insertOutputs(m *memory, paths []nixstate.Path, ids map[string]int64) error {
	in := m.insert("DerivationOutputs", 3)
	for _, p := range paths {
		for _, o := range slices.SortedFunc(slices.Values(p.Outputs), func(a, b nixstate.Output) int { return strings.Compare(a.Name, b.Name) }) {
			in.row(ids[p.Path], o.Name, o.Path)
		}
	}
	return in.done()
}

func ultimate(yes bool) int64 {
	if yes {
		return 1
	}
	return 0
}

// orNull returns the database's value for v: NULL for the zero value.
func orNull[T comparable](v T) any {
	var zero T
	if v == zero {
		return nil
	}
	return v
}

// stamp sets those fields of the file's header that would otherwise reveal the
// program that wrote it (sqlite.org/fileformat2.html, "The Database Header"). The
// journal is a write-ahead log, as in Nix: switching to one is a write that two Nix
// processes in a fresh container would both attempt.
func stamp(header []byte) {
	header[18], header[19] = 2, 2                      // write and read version: WAL
	binary.BigEndian.PutUint32(header[24:], 1)         // file change counter
	binary.BigEndian.PutUint32(header[92:], 1)         // the change counter at which the next field was written
	binary.BigEndian.PutUint32(header[96:], 3_040_000) // SQLITE_VERSION_NUMBER
}
