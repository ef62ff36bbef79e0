package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"

	"github.com/varve-image/varve/internal/atomicfile"
	"github.com/varve-image/varve/internal/ctxio"
	"github.com/varve-image/varve/tree"
)

// ReadChanges makes a step's Result of the layer that a runner's other half
// sends, inside of the sandbox or the virtual machine: a tar to be laid over
// Step.Tree, with whiteouts. It is read as hostile input, to its end and at most
// as much of it as the step's limit of disk allows, into a file without a name in
// Options.TempDir. More than that is a *LimitError.
//
// The layer may have more in it than has changed, and whiteouts of what there
// is not.
func ReadChanges(ctx context.Context, step *Step, layer io.Reader, opts Options) (*Result, error) {
	f, err := atomicfile.Unnamed(opts.TempDir)
	if err != nil {
		return nil, fmt.Errorf("make a temporary file for what the step changed: %w", err)
	}
	r, err := readChanges(ctx, step, layer, f)
	if err != nil {
		f.Close()
		var limit *LimitError
		if errors.As(err, &limit) {
			return nil, limit
		}
		return nil, fmt.Errorf("what the step %s left: %w", step.Name, err)
	}
	r.close = f.Close
	return r, nil
}

// Close frees what the files of the result are read from.
func (r *Result) Close() error {
	if err := r.close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("close temporary file: %w", err)
	}
	return nil
}

func readChanges(ctx context.Context, step *Step, layer io.Reader, f *os.File) (*Result, error) {
	limit := maxChanges(step)
	n, err := copySparse(f, ctxio.Reader(ctx, io.LimitReader(layer, limit+1)))
	if err != nil {
		return nil, err
	}
	if n > limit {
		return nil, &LimitError{Name: step.Name, Bound: BoundDisk, Limits: step.Limits.WithDefaults()}
	}
	source := &changesFile{title: "changes of " + step.Name, file: f, size: n}
	// The result is read for longer than the step's context may last.
	stop := context.AfterFunc(ctx, func() { f.Close() })
	o, err := tree.OpenOverlay(context.WithoutCancel(ctx), []tree.LayerSource{source}, tree.OverlayOptions{MaxBytes: limit, MaxEntries: MaxEntries, Exact: true, Below: step.Tree})
	if !stop() {
		return nil, context.Cause(ctx)
	}
	var bound *tree.LimitError
	if errors.As(err, &bound) {
		return nil, errors.New(bound.Reason) // which is not of the input that a user has bounds for
	}
	if err != nil {
		return nil, err
	}
	after := keepWhatIs(step.Tree, o.Entries)
	changes, err := tree.Diff(ctx, step.Tree, after)
	if err != nil {
		return nil, err
	}
	restoreUnchanged(step.Tree, after, changes)
	return &Result{Tree: after, Changes: changes}, nil
}

// maxChanges bounds the layer of a step's changes, in bytes.
func maxChanges(step *Step) int64 {
	// What counts with a block may have one of content, and an extended header of two
	// for an id or a name that is not ASCII.
	limit := 4*step.Limits.WithDefaults().Disk + 64<<20
	for _, e := range step.Tree { // directories that are as they were, whiteouts
		limit += EntrySize(len(e.Path), 0, 0)
	}
	return limit
}

// copySparse copies to an empty file, in which long runs of zeros become holes.
func copySparse(f *os.File, r io.Reader) (size int64, err error) {
	block, zeros := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, err := io.ReadFull(r, block)
		if !bytes.Equal(block[:n], zeros[:n]) {
			if _, err := f.WriteAt(block[:n], size); err != nil {
				return size, err
			}
		}
		size += int64(n)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return size, f.Truncate(size)
		case err != nil:
			return size, err
		}
	}
}

// changesFile is the spooled layer.
type changesFile struct {
	title string
	file  *os.File
	size  int64
}

func (c *changesFile) Title() string { return c.title }

func (c *changesFile) Open(context.Context) (io.ReadCloser, error) {
	return struct {
		*io.SectionReader
		io.Closer
	}{io.NewSectionReader(c.file, 0, c.size), io.NopCloser(nil)}, nil
}

// eachPair calls visit for the entries of upper, with those that lower has for
// their paths, or nil. Both are canonical.
func eachPair(lower, upper []*tree.Entry, visit func(i int, below *tree.Entry)) {
	for i, e := range upper {
		for len(lower) > 0 && tree.Compare(lower[0].Path, e.Path) < 0 {
			lower = lower[1:]
		}
		if len(lower) > 0 && lower[0].Path == e.Path {
			visit(i, lower[0])
		} else {
			visit(i, nil)
		}
	}
}

// keepWhatIs gives the entries of after the times and owner names that before
// has for them, and puts before's directories where they are the same.
func keepWhatIs(before, after []*tree.Entry) []*tree.Entry {
	eachPair(before, after, func(i int, old *tree.Entry) {
		e := after[i]
		switch {
		case e == old:
		case old == nil:
			e.ModTime = 0
		case sameDir(old, e):
			after[i] = old
		default:
			e.ModTime = old.ModTime
			if e.UID == old.UID {
				e.Uname = old.Uname
			}
			if e.GID == old.GID {
				e.Gname = old.Gname
			}
		}
	})
	return after
}

func sameDir(a, b *tree.Entry) bool {
	return a.Type == tree.Dir && b.Type == tree.Dir && a.Mode == b.Mode && a.UID == b.UID && a.GID == b.GID &&
		maps.Equal(a.Xattrs, b.Xattrs)
}

// restoreUnchanged puts the entries of before into after where they turned out
// to be the same.
func restoreUnchanged(before, after, changes []*tree.Entry) {
	eachPair(before, after, func(i int, old *tree.Entry) {
		e := after[i]
		for len(changes) > 0 && tree.Compare(changes[0].Path, e.Path) < 0 {
			changes = changes[1:]
		}
		if old != nil && (len(changes) == 0 || changes[0] != e) {
			after[i] = old
		}
	})
}
