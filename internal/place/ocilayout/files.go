package ocilayout

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/internal/regfile"
	"github.com/varve-image/varve/internal/tarindex"
)

// files are a layout's regular files, in a directory or an archive. Names are
// relative to the layout.
type files interface {
	// open opens a file and returns its size. A missing one is fs.ErrNotExist; a
	// symlink or a special file is an error, and is not opened.
	open(name string) (io.ReadCloser, int64, error)
	close() error
}

// dirFiles are the files of a directory. Nothing outside it can be reached.
type dirFiles struct{ root *os.Root }

func (d dirFiles) open(name string) (io.ReadCloser, int64, error) {
	f, err := openRegular(d.root, name)
	if err != nil {
		return nil, 0, err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, st.Size(), nil
}

// openRegular opens a regular file; no link is followed.
func openRegular(root *os.Root, name string) (*os.File, error) {
	f, err := regfile.OpenAt(root, name)
	var unfit *regfile.UnfitError
	if errors.As(err, &unfit) {
		err = fmt.Errorf("%q is not a regular file", name)
	}
	return f, err
}

func (d dirFiles) close() error { return d.root.Close() }

// tarFiles are the members of an archive.
type tarFiles struct{ *tarindex.Archive }

func (t tarFiles) open(name string) (io.ReadCloser, int64, error) {
	m, err := t.Member(name)
	if err != nil {
		return nil, 0, err
	}
	return io.NopCloser(m.Open()), m.Header.Size, nil
}

func (t tarFiles) close() error { return t.Close() }

// readFile reads a small file whole.
func readFile(f files, name string) ([]byte, error) {
	r, size, err := f.open(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if size > ocijson.MaxSize {
		return nil, fmt.Errorf("%q has %d bytes, more than %d", name, size, ocijson.MaxSize)
	}
	data, err := io.ReadAll(io.LimitReader(r, ocijson.MaxSize+1))
	if err == nil && len(data) > ocijson.MaxSize {
		err = fmt.Errorf("%q has more than %d bytes", name, ocijson.MaxSize)
	}
	return data, err
}

// checkLayout checks the file that makes a directory a layout.
func checkLayout(f files) error {
	data, err := readFile(f, layoutName)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("it is not an OCI layout: %w", err)
	}
	if err != nil {
		return err
	}
	o, err := ordjson.ParseObject(data, "imageLayoutVersion")
	if err != nil {
		return fmt.Errorf("%s: %w", layoutName, err)
	}
	if version, _ := o.Get("imageLayoutVersion"); version != layoutVersion {
		return fmt.Errorf("%s: imageLayoutVersion is %s, expected %q", layoutName, ocijson.Show(version), layoutVersion)
	}
	return nil
}
