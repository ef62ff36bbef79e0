package assemble

import (
	"io"
	"path"
	"strings"

	"github.com/varve-image/varve/internal/execfile"
	"github.com/varve-image/varve/tree"
)

// imageFiles is the file system that the finished image shows: its layers' trees,
// and the store paths in it as this machine has them.
type imageFiles struct {
	layers stack
	// storeDir is the directory of store paths, and storeRoot the directory under
	// which it is looked up.
	storeDir, storeRoot string
}

// find returns what an absolute path leads to, through symlinks; nil if that is
// nothing or cannot be determined.
func (f imageFiles) find(name string) *tree.Entry {
	at, found, links := "/", (*tree.Entry)(nil), 0
	for pending := strings.Split(name, "/"); len(pending) > 0; {
		part := pending[0]
		pending = pending[1:]
		next := path.Join(at, part)
		if next == at {
			continue
		}
		if next == "/" { // by ".."
			at, found = next, nil
			continue
		}
		e := f.entry(next)
		switch {
		case e == nil:
			return nil
		case e.Type != tree.Symlink:
			at, found = next, e
			continue
		}
		if links++; links > maxLinks {
			return nil
		}
		if path.IsAbs(e.Linkname) {
			at = "/"
		}
		pending = append(strings.Split(e.Linkname, "/"), pending...)
	}
	return found
}

// entry returns what is at a path.
func (f imageFiles) entry(name string) *tree.Entry {
	if e := f.layers.find(strings.TrimPrefix(name, "/")); e != nil {
		return e
	}
	if !strings.HasPrefix(f.storeDir+"/", name+"/") && !strings.HasPrefix(name, f.storeDir+"/") {
		return nil
	}
	for e, err := range tree.FromDir(f.storeRoot+name, tree.DirOptions{Store: true}) {
		if err != nil {
			return nil
		}
		return e
	}
	return nil
}

// fromBase reports whether the image has a file unchanged from its base.
func (f imageFiles) fromBase(e *tree.Entry) bool {
	below := f.layers.base.find(e.Path)
	return below != nil && below.Source == e.Source && below.Size == e.Size
}

// maxListed limits, in bytes, a list of users that is read for a warning.
const maxListed = 1 << 20

// text returns the beginning of a regular file, at most size bytes.
func (f imageFiles) text(e *tree.Entry, size int64) (string, bool) {
	if e == nil || e.Type != tree.Regular {
		return "", false
	}
	r, err := e.Open()
	if err != nil {
		return "", false
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, size))
	return string(data), err == nil
}

// program examines the beginning of a program.
func (f imageFiles) program(e *tree.Entry) execfile.Info {
	head, _ := f.text(e, execfile.HeadSize)
	return execfile.Parse([]byte(head))
}
