package layer

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/internal/regfile"
	"github.com/varve-image/varve/tree"
)

// File is a layer whose tar is a file on disk.
type File struct {
	Blob
	mode os.FileMode
}

// OpenFile describes the layer whose tar is the file called path and whose
// digest is said to be id. The file is opened when the layer is read.
func OpenFile(path string, id digest.Digest) (*File, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%q is not a regular file", path)
	}
	f := &File{mode: st.Mode().Perm()}
	f.Name, f.DiffID = path, id
	f.Fetch = func(context.Context) (io.ReadCloser, error) { return regfile.Open(path) }
	return f, nil
}

// Member returns the header that nixpkgs gives the file in an archive: its own
// mode, owned by root.
func (f *File) Member() *tree.Entry {
	return &tree.Entry{Mode: uint32(f.mode), Uname: "root", Gname: "root"}
}
