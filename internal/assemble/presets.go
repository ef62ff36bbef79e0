package assemble

import (
	"errors"
	"fmt"
	"strings"

	"github.com/varve-image/varve/internal/rootfs"
	"github.com/varve-image/varve/tree"
)

// preset makes the files of one of the spec's presets for an image that has the tree
// own. They add to the layers below, or yield to them.
func (b *builder) preset(i int, below stack, own []*tree.Entry) (rootfs.Files, error) {
	p := b.spec.Presets[i]
	names := make([]string, len(b.spec.Presets))
	for i, p := range b.spec.Presets {
		names[i] = p.Name
	}
	files, err := rootfs.Make(p.Name, rootfs.Request{
		Path: p.Path, PasswdLines: p.ExtraPasswdLines, GroupLines: p.ExtraGroupLines,
		Own:     own,
		Lower:   rootfs.Lower{Entries: below.entries, Store: strings.TrimPrefix(b.spec.StoreDir, "/")},
		Presets: names, Physical: b.physical,
	})
	if err != nil {
		return rootfs.Files{}, specError(fmt.Sprintf("presets[%d]: %s", i, p.Name), presetError(err))
	}
	b.notes = append(b.notes, files.Notes...)
	for _, w := range files.Warnings {
		b.warnf("%s", w)
	}
	return files, nil
}

// presetError blames an error in the layers below on their data instead of the spec.
func presetError(err error) error {
	var lower *rootfs.LowerError
	if errors.As(err, &lower) {
		return &dataError{err}
	}
	return err
}

// tellExtended reports, for debugging, the files that a preset adds to.
func (b *builder) tellExtended(below stack, entries []*tree.Entry) {
	for _, e := range entries {
		if there := below.find(e.Path); e.Type == tree.Regular && there != nil {
			b.debugf("%s: adding to /%s of the layers below: %d bytes to %d", e.Source, e.Path, e.Size-there.Size, there.Size)
		}
	}
}
