package ocilayout

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/ctxio"
	"github.com/varve-image/varve/layer"
)

// maxMembers bounds an archive's members.
const maxMembers = 100_000

// files are a layout's regular files, in a directory or an archive. Names are
// relative to the layout.
type files interface {
	// open opens a file and returns its size. A missing one is
	// fs.ErrNotExist; a symlink or a special file is an error, without being
	// opened.
	open(name string) (io.ReadCloser, int64, error)
	close() error
}

// dirFiles are the files of a directory. Nothing outside it is reached.
type dirFiles struct{ root *os.Root }

func (d dirFiles) open(name string) (io.ReadCloser, int64, error) {
	before, err := d.root.Lstat(name)
	if err != nil {
		return nil, 0, err
	}
	if !before.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%q is not a regular file", name)
	}
	f, err := d.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	after, err := f.Stat()
	if err == nil && !os.SameFile(before, after) {
		err = fmt.Errorf("%q changed while it was opened", name)
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, after.Size(), nil
}

func (d dirFiles) close() error { return d.root.Close() }

// tarFiles are the members of an archive.
type tarFiles struct {
	file    *os.File
	members map[string]member
}

// member is a member of an archive: where its content is, if it has any.
type member struct {
	regular      bool
	offset, size int64
}

func (t *tarFiles) open(name string) (io.ReadCloser, int64, error) {
	m, ok := t.members[name]
	if !ok {
		return nil, 0, fmt.Errorf("member %q: %w", name, fs.ErrNotExist)
	}
	if !m.regular {
		return nil, 0, fmt.Errorf("member %q is not a regular file", name)
	}
	return io.NopCloser(io.NewSectionReader(t.file, m.offset, m.size)), m.size, nil
}

func (t *tarFiles) close() error { return t.file.Close() }

// openTar reads the table of contents of an archive, which may be compressed
// with gzip or zstd: then it is unpacked to a file without a name in tempDir.
// It takes f over.
func openTar(ctx context.Context, f *os.File, tempDir string) (*tarFiles, error) {
	plain, err := decompress(ctx, f, tempDir)
	if err != nil {
		f.Close()
		return nil, err
	}
	if plain != f {
		f.Close()
	}
	t := &tarFiles{file: plain, members: map[string]member{}}
	if err := t.readMembers(ctx); err != nil {
		plain.Close()
		return nil, err
	}
	return t, nil
}

// decompress returns f itself if it is not compressed.
func decompress(ctx context.Context, f *os.File, tempDir string) (*os.File, error) {
	r, algorithm, err := layer.NewReader(f)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if algorithm == layer.None {
		return f, nil
	}
	temp, err := nameless(tempDir)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(temp, ctxio.Reader(ctx, r)); err != nil {
		temp.Close()
		return nil, err
	}
	return temp, nil
}

// nameless makes a temporary file that is gone when it is closed.
func nameless(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "varve-oci-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (t *tarFiles) readMembers(ctx context.Context) error {
	if _, err := t.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	r := tar.NewReader(t.file)
	for {
		h, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("read tar: %w", err)
		}
		name := path.Clean(h.Name)
		if _, twice := t.members[name]; twice && h.Typeflag != tar.TypeDir {
			return fmt.Errorf("two members are called %q", name)
		}
		if len(t.members) == maxMembers {
			return fmt.Errorf("more than %d members", maxMembers)
		}
		offset, err := t.file.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		t.members[name] = member{regular: h.Typeflag == tar.TypeReg, offset: offset, size: h.Size}
	}
}

// readFile reads a small file whole.
func readFile(f files, name string) ([]byte, error) {
	r, size, err := f.open(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if size > maxJSON {
		return nil, fmt.Errorf("%q has %d bytes, more than %d", name, size, maxJSON)
	}
	data, err := io.ReadAll(io.LimitReader(r, maxJSON+1))
	if err == nil && len(data) > maxJSON {
		err = fmt.Errorf("%q has more than %d bytes", name, maxJSON)
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
	o, err := parseObject(data, "imageLayoutVersion")
	if err != nil {
		return fmt.Errorf("%s: %w", layoutName, err)
	}
	if version, _ := o.Get("imageLayoutVersion"); version != layoutVersion {
		return fmt.Errorf("%s: imageLayoutVersion is %s, expected %q", layoutName, show(version), layoutVersion)
	}
	return nil
}
