package assemble

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/varve-image/varve/internal/human"
	"github.com/varve-image/varve/spec"
	"github.com/varve-image/varve/tree"
)

// mostOpened is how many files of an image are read where they are: of more, its layers are first
// made cheap to read.
const mostOpened = 8

// followed returns what a path leads to, through symlinks, a last one too; nil for nothing.
func followed(entries []*tree.Entry, name string) *tree.Entry {
	name = path.Clean("/" + name)
	for range maxLinks {
		if name == "/" {
			return tree.Find(entries, ".")
		}
		at := tree.Lookup(entries, name[1:])
		if at == nil || at.Type != tree.Symlink {
			return at
		}
		if name = at.Linkname; !path.IsAbs(name) {
			name = path.Join("/", path.Dir(at.Path), name)
		}
		name = path.Clean(name)
	}
	return nil
}

// imageFiles opens an image that is copied from, once, and returns what its layers show.
func (b *builder) imageFiles(ctx context.Context, ref spec.Base) (*tree.Overlay, error) {
	if o := b.sources[ref.Reference]; o != nil {
		return o, nil
	}
	if b.opts.OpenBase == nil {
		return nil, errors.New("images are not opened here")
	}
	opened, err := b.opts.OpenBase(ctx, ref)
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	o, err := opened.Files(ctx, tree.OverlayOptions{TempDir: b.opts.TempDir, MaxBytes: b.opts.MaxUnpacked, MaxEntries: b.opts.MaxEntries})
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	b.closers = append(b.closers, o)
	if b.sources == nil {
		b.sources = map[string]*tree.Overlay{}
	}
	b.sources[ref.Reference] = o
	return o, nil
}

// fromImage returns what another image has at the path of a source, with copies of its entries.
func (b *builder) fromImage(ctx context.Context, field string, c spec.Copy, ref spec.Base) ([]*tree.Entry, error) {
	o, err := b.imageFiles(ctx, ref)
	if err != nil {
		return nil, err
	}
	at := followed(o.Entries, c.Source)
	if at == nil {
		return nil, fmt.Errorf("the image %q has no %q", ref.Written, c.Source)
	}
	var entries []*tree.Entry
	files := 0
	for _, e := range o.Entries {
		if e != at && at.Path != "." && !strings.HasPrefix(e.Path, at.Path+"/") {
			continue
		}
		copied := *e
		if copied.Path = strings.TrimPrefix(e.Path, at.Path+"/"); e == at {
			copied.Path = "."
		}
		if e.Type == tree.Regular {
			files++
		}
		entries = append(entries, &copied)
	}
	b.debugf("%s: %q of %q: %s", field, path.Clean(c.Source), ref.Written, human.Count(len(entries), "file"))
	if files > mostOpened {
		if err := o.Spool(ctx); err != nil {
			return nil, fmt.Errorf("image: %w", err)
		}
	}
	return entries, nil
}
