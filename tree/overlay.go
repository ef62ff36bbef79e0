package tree

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/varve-image/varve/internal/problems"
)

// LayerSource is the tar of one layer of an image.
type LayerSource interface {
	// Title names the layer in messages.
	Title() string
	// Open opens the tar, without any compression; it may be called any number of times, by
	// several goroutines. Where the bytes do not match their digest, reading ends with an error
	// instead of io.EOF. The reader may be an io.ReaderAt too: single files are then read
	// directly.
	Open(ctx context.Context) (io.ReadCloser, error)
}

// OverlayOptions are the options of OpenOverlay.
type OverlayOptions struct {
	// TempDir is where Spool puts contents, into a file without a name; it defaults to the
	// system's directory for such files.
	TempDir string
	// MaxBytes limits what all layers decompress to, with sparse files expanded; it defaults to
	// 64 GiB.
	MaxBytes int64
	// MaxEntries limits the entries of all layers, whiteouts and implied directories included;
	// it defaults to two million.
	MaxEntries int
	// Exact refuses layers that stored images may have but that are never written here: layers
	// without an end marker or with invalid times.
	Exact bool
	// Lasting has contents compared by their SHA-256, so that WriteListing can describe the file
	// system to another process.
	Lasting bool
	// HardLinks gives the names of one file the same Inode.
	HardLinks bool
	// Below is a complete tree that the layers go on. Entries keeps what they do not change.
	Below []*Entry
}

func (o OverlayOptions) withDefaults() OverlayOptions {
	if o.MaxBytes <= 0 {
		o.MaxBytes = defaultMaxBytes
	}
	if o.MaxEntries <= 0 {
		o.MaxEntries = defaultOverlayEntries
	}
	return o
}

const (
	defaultOverlayEntries = 2_000_000
	// maxLayerReaders limits the layers that are decompressed at once, and so the memory for it.
	maxLayerReaders = 4
)

// Overlay is the file system that a stack of layers shows.
type Overlay struct {
	// Entries is its tree in canonical order, as the layers have it, without owner names.
	// Directories that no layer describes are Implied. Each regular file can be opened until
	// Close. Opening one reads its layer from the start up to the file, unless the layer is an
	// io.ReaderAt or Spool was called.
	Entries []*Entry

	ctx    context.Context
	temp   string
	layers []*layerIndex
	files  [][]*extent // by layer, in the order there
	spool  *os.File
	// cost is what was taken from the limits, maxText the most for names and attributes.
	cost    cost
	maxText int64
	// listable says that WriteListing can describe it.
	listable bool
	// hardLinks is OverlayOptions.HardLinks.
	hardLinks bool
}

// OpenOverlay reads the headers of layers, the lowest first, in one pass over each; ctx applies
// to contents that are opened later, too.
//
// A layer is read by the rules of the OCI image-spec (layer.md), and where those are silent, as
// overlay file systems show layers that were each unpacked separately:
//
//   - ".wh.NAME" hides what lower layers have at NAME, ".wh..wh..opq" all that they have in its
//     directory. Neither touches the layer's own entries, whatever the order. A whiteout that
//     hides nothing is ignored, and makes no directory.
//   - Names are normalised, and a later entry of a layer replaces an earlier one, as in OpenTar;
//     here it may also be of another type. A directory merges with the one of lower layers;
//     anything else replaces what is in lower layers with all that is in it.
//   - An entry whose parents the layer does not have leaves them as they are in lower layers,
//     and makes missing ones: Implied, 0755 0:0.
//   - An entry below a symlink of the same layer lands where that leads, inside
//     the tree; nothing outside can be reached. A directory, implied or not,
//     replaces a symlink of a lower layer.
//   - A hard link becomes a file of its own with the content and attributes that its target has
//     at that point, in its layer or else in the layers below.
//   - A whiteout below a file of a lower layer, or below something that the layer later makes a
//     non-directory, hides nothing.
//   - The tar may end without the two blocks of zeros, be empty, and have anything after its
//     end, unless Exact: the source detects whether it is whole.
//   - A time before 1970 or after 9999 becomes 1970-01-01T00:00:00Z, as in Docker, unless Exact.
//   - Metadata of aufs (names at the root that begin with ".wh..wh.") is
//     ignored.
//
// Refused, with all errors of a layer together and its entries' names: what OpenTar refuses in
// names, owners, times, devices and capabilities; whiteouts of an empty name, "." and "..", or
// through a symlink or something that the layer had as a non-directory before; other names that
// begin with ".wh."; attributes that overlay file systems obey (trusted.overlay.*,
// user.overlay.*, user.fuseoverlayfs.*); hard links with content, through symlinks, or to what
// is not there; names that tar's extensions give twice with different values.
//
// Memory is in proportion to the entries, including hidden ones while it runs. A reader's own
// error (a wrong digest) takes precedence over all others of its layer.
func OpenOverlay(ctx context.Context, layers []LayerSource, opts OverlayOptions) (*Overlay, error) {
	opts = opts.withDefaults()
	o := &Overlay{ctx: ctx, temp: opts.TempDir, hardLinks: opts.HardLinks, listable: opts.Lasting && !opts.Exact && opts.Below == nil}
	limits := newLimits(opts.MaxBytes, opts.MaxEntries)
	for i, l := range layers {
		x := newLayerIndex(i, l, limits, !opts.Exact)
		if opts.Lasting {
			x.hashWith(sha256.New)
		}
		o.layers = append(o.layers, x)
	}
	if err := o.index(ctx); err != nil {
		return nil, err
	}
	root, err := grow(opts.Below)
	if err != nil {
		return nil, fmt.Errorf("the tree below the layers: %w", err)
	}
	for _, l := range o.layers {
		if err := l.put(root); err != nil {
			return nil, fmt.Errorf("read layer %q: %w", l.title, err)
		}
	}
	o.flatten(root)
	o.cost, o.maxText = limits.cost(), limits.text.max
	return o, nil
}

// index reads all layers, several at a time, and reports the errors of all.
func (o *Overlay) index(ctx context.Context) error {
	var group errgroup.Group
	group.SetLimit(min(runtime.GOMAXPROCS(0), maxLayerReaders))
	errs := make([]error, len(o.layers))
	for i, l := range o.layers {
		group.Go(func() error {
			errs[i] = l.read(ctx)
			return nil
		})
	}
	_ = group.Wait() // each goroutine has its place in errs
	if err := ctx.Err(); err != nil {
		return err
	}
	var bad problems.List
	for i, err := range errs {
		if err != nil {
			bad.Addf("read layer %q: %w", o.layers[i].title, err)
		}
	}
	return bad.Err()
}

// flatten sets Entries and files from the tree root.
func (o *Overlay) flatten(root *node) {
	o.files = make([][]*extent, len(o.layers))
	root.walk(func(n *node) {
		e := n.entry
		o.Entries = append(o.Entries, e)
		if n.file == nil {
			return
		}
		e.Content = &inLayer{o, e, n.file}
		if len(n.file.names) == 0 {
			o.files[n.file.layer] = append(o.files[n.file.layer], n.file)
		} else if first := n.file.names[0]; o.hardLinks {
			e.nameOf(first)
		}
		n.file.names = append(n.file.names, e)
	})
	for i, l := range o.layers {
		sortExtents(o.files[i])
		l.root, l.links, l.hides = nil, nil, hides{}
	}
}

// Close makes the entries' contents unavailable.
func (o *Overlay) Close() error {
	if o.spool == nil {
		return nil
	}
	err := o.spool.Close()
	o.spool = nil
	if err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("close temporary file: %w", err)
	}
	return nil
}
