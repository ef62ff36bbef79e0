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

// ReadChanges makes a step's Result from the layer that the runner's other half sends from
// inside the sandbox or the virtual machine: a tar to be laid over Step.Tree, with
// whiteouts. It is treated as hostile input: it is read to its end, but no further than the
// step's disk limit allows, into an unnamed file in Options.TempDir. A larger layer is a
// *LimitError.
//
// The layer may contain entries that have not changed, and whiteouts of files that do not
// exist.
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

// OpenChanges makes a step's Result from a file of size bytes that has the Changes of an earlier one
// as a layer: the step is the same, and its Tree has the same content. Nothing of Step.Tree is
// read. The file is closed with the Result, or on an error.
func OpenChanges(ctx context.Context, step *Step, file *os.File, size int64) (*Result, error) {
	after, err := layOver(ctx, step, file, size, size)
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("what the step %s left earlier: %w", step.Name, err)
	}
	changes, err := tree.DiffEntries(ctx, step.Tree, after)
	if err != nil {
		file.Close()
		return nil, err
	}
	return &Result{Tree: after, Changes: changes, close: file.Close}, nil
}

// Close releases the file that the result's content is read from.
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
		return nil, &LimitError{Name: step.Name, Limit: LimitDisk, Limits: step.Limits.WithDefaults()}
	}
	after, err := layOver(ctx, step, f, n, limit)
	if err != nil {
		return nil, err
	}
	changes, err := tree.Diff(ctx, step.Tree, after)
	if err != nil {
		return nil, err
	}
	restoreUnchanged(step.Tree, after, changes)
	return &Result{Tree: after, Changes: changes}, nil
}

// layOver lays the layer of n bytes in f over a step's tree. Its files are read from f.
func layOver(ctx context.Context, step *Step, f *os.File, n, limit int64) ([]*tree.Entry, error) {
	source := &changesFile{title: "changes of " + step.Name, file: f, size: n}
	// The result may be read for longer than the step's context lasts.
	stop := context.AfterFunc(ctx, func() { f.Close() })
	o, err := tree.OpenOverlay(context.WithoutCancel(ctx), []tree.LayerSource{source}, tree.OverlayOptions{MaxBytes: limit, MaxEntries: MaxEntries, Exact: true, HardLinks: true, Below: step.Tree})
	if !stop() {
		return nil, context.Cause(ctx)
	}
	var reached *tree.LimitError
	if errors.As(err, &reached) {
		return nil, errors.New(reached.Reason) // not the input that users set limits for
	}
	if err != nil {
		return nil, err
	}
	return keepWhatIs(step.Tree, o.Entries), nil
}

// maxChanges returns the limit for the layer of a step's changes, in bytes.
func maxChanges(step *Step) int64 {
	// An entry that counts one block may have another block of content, and an extended
	// header of two blocks for an id or a name that is not ASCII.
	limit := 4*step.Limits.WithDefaults().Disk + 64<<20
	for _, e := range step.Tree { // unchanged directories, whiteouts
		limit += EntrySize(len(e.Path), 0, 0)
	}
	return limit
}

// copySparse copies r to an empty file, turning long runs of zeros into holes.
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

// eachPair calls visit for each entry of upper, with the entry that lower has for its path,
// or nil. Both are canonical.
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

// keepWhatIs gives the entries of after the times and owner names that before has for them,
// and uses before's directories where they are the same.
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
