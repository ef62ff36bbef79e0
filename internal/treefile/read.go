package treefile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/varve-image/varve/internal/regfile"
	"github.com/varve-image/varve/tree"
)

// SourceError says that a source does not exist, or is neither a directory nor a tarball.
type SourceError struct{ Err error }

func (e *SourceError) Error() string { return e.Err.Error() }

func (e *SourceError) Unwrap() error { return e.Err }

// Read reads a directory or a tarball; source may be a symlink to it. The entries can
// be read until the closer is closed. An unsuitable source is a *SourceError.
func Read(ctx context.Context, source string, opts tree.TarOptions) ([]*tree.Entry, io.Closer, error) {
	path, err := tree.Resolve(source)
	if regfile.IsMisnamed(err) {
		err = &SourceError{err}
	}
	if err != nil {
		return nil, nil, err
	}
	if st, err := os.Stat(path); err != nil || !st.IsDir() {
		t, err := tree.OpenTar(ctx, path, opts)
		if errors.Is(err, tree.ErrNotTar) {
			err = &SourceError{fmt.Errorf("%q is neither a directory nor a tarball", source)}
		}
		if err != nil {
			return nil, nil, err
		}
		return t.Entries, t, nil
	}
	entries, err := tree.Collect(tree.FromDir(path, tree.DirOptions{Xattrs: true}))
	if err != nil {
		return nil, nil, err
	}
	// As in an image: the directory's own mode is that of a place to assemble files.
	entries[0].Mode, entries[0].Implied = 0o755, true
	return entries, io.NopCloser(nil), nil
}
