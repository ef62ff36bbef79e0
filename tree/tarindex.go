package tree

import (
	"archive/tar"
	"fmt"
)

// tarIndex reads the headers of a tarball.
type tarIndex struct {
	tarScan
	tar     *Tar
	entries []*Entry
	at      map[string]int // the index in entries of a path
}

// index reads a whole tarball from src and sets t.Entries.
func (t *Tar) index(src *tarSource, opts TarOptions) error {
	x := &tarIndex{tarScan: tarScan{src: src, limits: newLimits(opts.MaxBytes, opts.MaxEntries)}, tar: t, at: map[string]int{}}
	if err := x.scan(x.add); err != nil {
		return err
	}
	x.at = nil
	Sort(x.entries)
	entries, err := complete(x.entries)
	if err != nil {
		return err
	}
	if len(entries) > opts.MaxEntries {
		return x.limits.tooMany()
	}
	t.Entries = entries
	return nil
}

// add adds an entry whose headers start at start and whose content, with its
// padding, ends at end.
func (x *tarIndex) add(hdr *tar.Header, start, end int64) error {
	if hdr.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name, err := tarName(hdr)
	if err != nil {
		return err
	}
	e, err := x.entry(hdr, name)
	if err != nil {
		return err
	}
	if e.Type == Regular && e.Content == nil {
		x.content(e, hdr, start, end)
	}
	return x.put(e)
}

func (x *tarIndex) content(e *Entry, hdr *tar.Header, start, end int64) {
	e.Size, e.Stamp.Offset = hdr.Size, start
	if isSparse(hdr) {
		e.Content = x.tar.sparseOpener(e.Path, start, e.Size)
		return
	}
	e.Content = x.tar.opener(e.Path, end-roundUp(hdr.Size), e.Size)
}

// put adds e, or replaces an earlier entry of its name by it.
func (x *tarIndex) put(e *Entry) error {
	i, seen := x.at[e.Path]
	if !seen {
		x.at[e.Path] = len(x.entries)
		x.entries = append(x.entries, e)
		return nil
	}
	if old := x.entries[i]; (old.Type == Dir) != (e.Type == Dir) {
		return fmt.Errorf("it is a %s here and a %s earlier in the tarball", e.Type, old.Type)
	}
	x.entries[i] = e
	return nil
}
