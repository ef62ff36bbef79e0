package layer

import (
	"context"
	"fmt"
	"io"
	"os"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/ctxio"
	"github.com/varve-image/varve/tree"
)

// Section is a part of a file: a member of an archive.
type Section struct {
	// File is the file. It is open as long as the layer is used.
	File *os.File
	// Stamp is the file's, from before anything of it was read, with the section's offset.
	Stamp tree.Stamp
	// Size is the section's, in bytes.
	Size int64
}

// isStamped reports whether the stamp says if the file is what it was.
func (s *Section) isStamped() bool { return s != nil && s.Stamp.Change != 0 }

// check returns an error if the file has been changed.
func (s *Section) check() error {
	now, err := tree.StampOf(s.File)
	if err != nil {
		return err
	}
	if now.Offset = s.Stamp.Offset; now != s.Stamp {
		return fmt.Errorf("%q changed while it was read", s.File.Name())
	}
	return nil
}

// open opens the section.
func (s *Section) open() *io.SectionReader {
	return io.NewSectionReader(s.File, s.Stamp.Offset, s.Size)
}

// sectionOf describes the section as a blob, by the digest that it is said to have, if any.
func (b *Blob) sectionOf() v1.Descriptor {
	return v1.Descriptor{Digest: b.Descriptor.Digest, Size: b.Section.Size}
}

// isProvedTar reports whether the memo has that the Section matches what is said of the layer, and
// it is the tar, not compressed.
func (b *Blob) isProvedTar() (bool, error) {
	if _, err := b.recall(); err != nil || !b.proved.Load() {
		return false, err
	}
	r, algorithm, err := compress.NewReader(b.Section.open())
	if err != nil {
		return false, nil // reading it tells more
	}
	r.Close()
	return algorithm == compress.None, nil
}

// copySection writes the Section, within the kernel where that can be. It need not be hashed: the
// file is the one that was, unless it is being changed.
func (b *Blob) copySection(ctx context.Context, w io.Writer) error {
	s := b.Section
	var n int64
	var err error
	if k, ok := newOutput(w).(kernelCopier); ok {
		n, err = k.copySection(ctx, s)
	}
	if err == nil && n < s.Size {
		rest := io.NewSectionReader(s.File, s.Stamp.Offset+n, s.Size-n)
		var more int64
		// The struct hides methods that would take the copy away from the context.
		more, err = io.CopyBuffer(struct{ io.Writer }{w}, ctxio.Reader(ctx, rest), make([]byte, bufferSize))
		n += more
	}
	if err == nil {
		err = s.check()
	}
	if err == nil && n < s.Size {
		err = fmt.Errorf("%q ends early", s.File.Name())
	}
	if err != nil {
		return fmt.Errorf("copy layer %q: %w", b.Name, err)
	}
	return nil
}
