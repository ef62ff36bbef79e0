package rootfs

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/varve-image/varve/tree"
)

// maxLower is the size in bytes of the largest file of lower layers that can be added to.
const maxLower = 16 << 20

// Lower is the file system that presets add to: that of the layers below. The zero
// value is empty.
type Lower struct {
	// Entries is its tree, in canonical order.
	Entries []*tree.Entry
	// Covered reports whether the image's own files have something at a path such
	// as "etc/passwd", so that what is below does not show; nil means never.
	Covered func(path string) bool
	// Store is the directory of store paths, such as "nix/store", whose files are
	// never changed; empty for none.
	Store string
}

// LowerError says that a file of lower layers cannot be read, or cannot be added to.
type LowerError struct {
	Path string
	Err  error
}

func (e *LowerError) Error() string {
	return fmt.Sprintf("add to /%s of a lower layer: %v", e.Path, e.Err)
}

func (e *LowerError) Unwrap() error { return e.Err }

// visible returns what a path leads to, through symlinks; nil if that is nothing or
// covered by the image's own files.
func (l Lower) visible(path string) *tree.Entry {
	if l.Covered != nil && l.Covered(path) {
		return nil
	}
	return tree.Follow(l.Entries, path)
}

// read returns the file that a path leads to, as it would be written, and its text;
// nil if nothing is visible. A link into the store is replaced by the file that it
// leads to.
func (l Lower) read(path string) (e *tree.Entry, text string, err error) {
	e = l.visible(path)
	switch {
	case e == nil:
		return nil, "", nil
	case e.Type != tree.Regular:
		err = fmt.Errorf("it is a %s", e.Type)
	case e.Size > maxLower:
		err = fmt.Errorf("it has %d bytes; at most %d are read", e.Size, maxLower)
	default:
		var data []byte
		data, err = readAll(e)
		text = string(data)
	}
	if err != nil {
		return nil, "", &LowerError{path, err}
	}
	if link := tree.Lookup(l.Entries, path); l.Store != "" && strings.HasPrefix(e.Path, l.Store+"/") && link.Type == tree.Symlink {
		e = tree.NewFile(link.Path, 0o644, text)
	}
	return e, text, nil
}

// withText returns a file of lower layers with another text; its owner and mode stay.
func withText(e *tree.Entry, text string) *tree.Entry {
	c, made := *e, tree.NewFile(e.Path, e.Mode, text)
	c.SetContent(made.Size, made.Content)
	c.ModTime = 0
	return &c
}

// ended returns text with a newline at its end.
func ended(text string) string {
	if text == "" || strings.HasSuffix(text, "\n") {
		return text
	}
	return text + "\n"
}

// readAll reads an entry, but no more than its size.
func readAll(e *tree.Entry) (data []byte, err error) {
	r, err := e.Open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return io.ReadAll(r)
}
