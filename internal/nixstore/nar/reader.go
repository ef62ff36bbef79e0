package nar

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
)

// Reader reads an archive file by file, in the order of the archive: a directory
// before its content, names in byte order.
type Reader struct {
	src    io.Reader
	br     *bufio.Reader
	seeker io.Seeker // src, if it can seek
	// offset is how many bytes of the archive have been taken.
	offset int64
	// left is how much of the current file's content has not been read yet; open
	// means that its end has not been read either.
	left, size int64
	open       bool
	// dirs are the directories that the reader is in.
	dirs  []directory
	begun bool
	err   error
	// buf holds the string or number that was read last.
	buf [maxPath + 1]byte
}

// directory is a directory whose end has not been read.
type directory struct {
	path string
	// last is the name of its last entry; empty for none.
	last string
}

// NewReader returns a Reader of r. If r is an io.Seeker, content that is not
// read is skipped by Seek.
func NewReader(r io.Reader) *Reader {
	seeker, _ := r.(io.Seeker)
	return &Reader{src: r, br: bufio.NewReader(r), seeker: seeker}
}

// Next goes on to the next file. After the last one it checks that the archive ends
// there, and returns io.EOF.
func (r *Reader) Next() (Header, error) {
	if r.err != nil {
		return Header{}, r.err
	}
	h, err := r.next()
	switch err {
	case nil:
	case errEnd:
		err = io.EOF
	default:
		err = fmt.Errorf("read NAR at byte %d: %w", r.offset, unexpected(err))
	}
	r.err = err
	return h, err
}

// Read reads the content of the file that Next has returned.
func (r *Reader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n, err := r.br.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	r.offset += int64(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		r.err = fmt.Errorf("read NAR at byte %d: %w", r.offset, err)
	}
	return n, r.err
}

// errEnd marks the end of a complete archive.
var errEnd = errors.New("end")

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (r *Reader) next() (Header, error) {
	if !r.begun {
		r.begun = true
		if err := r.want(magic); err != nil {
			return Header{}, fmt.Errorf("it is not a Nix archive: %w", unexpected(err))
		}
		return r.node(".")
	}
	if r.open {
		if err := r.endContent(); err != nil {
			return Header{}, err
		}
	}
	for len(r.dirs) > 0 {
		name, more, err := r.entry()
		if err != nil {
			return Header{}, err
		}
		if more {
			return r.node(name)
		}
	}
	if _, err := r.br.ReadByte(); err != io.EOF {
		if err == nil {
			err = errors.New("there are bytes after the end of the archive")
		}
		return Header{}, err
	}
	return Header{}, errEnd
}

// node reads the beginning of a file, or all of a symlink.
func (r *Reader) node(path string) (Header, error) {
	h := Header{Path: path}
	if err := r.want("(", "type"); err != nil {
		return h, err
	}
	kind, err := r.text(maxName)
	if err != nil {
		return h, err
	}
	switch kind {
	case "regular":
		h.Type = Regular
		return h, r.regular(&h)
	case "symlink":
		h.Type = Symlink
		return h, r.symlink(&h)
	case "directory":
		h.Type = Directory
		if len(r.dirs) == MaxDepth {
			return h, fmt.Errorf("directories are nested deeper than %d", MaxDepth)
		}
		r.dirs = append(r.dirs, directory{path: path})
		return h, nil
	}
	return h, fmt.Errorf("%.300q is of type %.100q, want regular, symlink or directory", path, kind)
}

func (r *Reader) regular(h *Header) error {
	field, err := r.text(maxName)
	if err != nil {
		return err
	}
	if field == "executable" {
		h.Executable = true
		if err := r.want("", "contents"); err != nil {
			return err
		}
	} else if field != "contents" {
		return fmt.Errorf("%.300q: got %.100q, want executable or contents", h.Path, field)
	}
	size, err := r.number()
	if err != nil {
		return err
	}
	if size > math.MaxInt64-7 {
		return fmt.Errorf("%.300q has %d bytes, more than any file", h.Path, size)
	}
	h.Size, h.Offset = int64(size), r.offset
	r.left, r.size, r.open = h.Size, h.Size, true
	return nil
}

// endContent skips the rest of a file's content, and reads its end.
func (r *Reader) endContent() error {
	if err := r.skip(); err != nil {
		return err
	}
	r.open = false
	if err := r.zeros(padding(uint64(r.size))); err != nil {
		return err
	}
	return r.endNode()
}

func (r *Reader) skip() error {
	n, err := r.br.Discard(int(min(r.left, int64(r.br.Buffered()))))
	r.taken(n)
	if err != nil {
		return err
	}
	if r.left > 0 && r.seeker != nil {
		// Past the end there is nothing to read, which the next read notices.
		if _, err := r.seeker.Seek(r.left, io.SeekCurrent); err != nil {
			return err
		}
		r.offset += r.left
		r.left = 0
		r.br.Reset(r.src)
	}
	for r.left > 0 {
		n, err := r.br.Discard(int(min(r.left, 1<<20)))
		r.taken(n)
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *Reader) taken(n int) {
	r.left -= int64(n)
	r.offset += int64(n)
}

func (r *Reader) symlink(h *Header) error {
	if err := r.want("target"); err != nil {
		return err
	}
	target, err := r.text(maxTarget)
	if err != nil {
		return err
	}
	if target == "" || strings.Contains(target, "\x00") {
		return fmt.Errorf("%.300q: a symlink cannot have the text %q", h.Path, target)
	}
	h.Target = target
	return r.endNode()
}

// endNode reads the end of a file that is not a directory, and of the entry that
// holds it.
func (r *Reader) endNode() error {
	if len(r.dirs) == 0 {
		return r.want(")")
	}
	return r.want(")", ")")
}

// entry reads the beginning of an entry and returns its path, or the end of the
// directory.
func (r *Reader) entry() (path string, more bool, err error) {
	d := &r.dirs[len(r.dirs)-1]
	field, err := r.text(maxName)
	if err != nil {
		return "", false, err
	}
	switch field {
	case ")":
		r.dirs = r.dirs[:len(r.dirs)-1]
		if len(r.dirs) > 0 {
			err = r.want(")")
		}
		return "", false, err
	case "entry":
	default:
		return "", false, fmt.Errorf("%.300q: got %.100q, want entry or )", d.path, field)
	}
	if err := r.want("(", "name"); err != nil {
		return "", false, err
	}
	name, err := r.text(maxName)
	if err != nil {
		return "", false, err
	}
	if err := checkName(name); err != nil {
		return "", false, fmt.Errorf("%.300q: %w", d.path, err)
	}
	if name <= d.last {
		return "", false, fmt.Errorf("%.300q: entry %q after %q: they are not in order", d.path, name, d.last)
	}
	d.last = name
	if err := r.want("node"); err != nil {
		return "", false, err
	}
	if d.path == "." {
		return name, true, nil
	}
	if size := len(d.path) + 1 + len(name); size > maxPath {
		return "", false, fmt.Errorf("below %.300q: a path of %d bytes, where at most %d may be", d.path, size, maxPath)
	}
	return d.path + "/" + name, true, nil
}

func checkName(name string) error {
	switch {
	case name == "", name == ".", name == "..":
		return fmt.Errorf("an entry is called %q", name)
	case strings.ContainsAny(name, "/\x00"):
		return fmt.Errorf("an entry is called %q, which is not a file name", name)
	}
	return nil
}

// want reads strings that have to come next.
func (r *Reader) want(list ...string) error {
	for _, s := range list {
		got, err := r.bytes(max(len(s), maxName))
		if err != nil {
			return err
		}
		if string(got) != s {
			return fmt.Errorf("got %.100q, want %q", got, s)
		}
	}
	return nil
}

// text reads a string of at most limit bytes.
func (r *Reader) text(limit int) (string, error) {
	got, err := r.bytes(limit)
	return string(got), err
}

// bytes reads a string of at most limit bytes, at most maxPath. It is valid until
// the next one is read.
func (r *Reader) bytes(limit int) ([]byte, error) {
	size, err := r.number()
	if err != nil {
		return nil, err
	}
	if size > uint64(limit) {
		return nil, fmt.Errorf("a string of %d bytes, where at most %d may be", size, limit)
	}
	whole := r.buf[:size+padding(size)]
	n, err := io.ReadFull(r.br, whole)
	r.offset += int64(n)
	if err != nil {
		return nil, err
	}
	return whole[:size], checkZeros(whole[size:])
}

func (r *Reader) number() (uint64, error) {
	n, err := io.ReadFull(r.br, r.buf[:8])
	r.offset += int64(n)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(r.buf[:]), nil
}

// zeros reads n bytes of padding.
func (r *Reader) zeros(n uint64) error {
	got, err := io.ReadFull(r.br, r.buf[:n])
	r.offset += int64(got)
	if err != nil {
		return err
	}
	return checkZeros(r.buf[:n])
}

func checkZeros(padding []byte) error {
	for _, b := range padding {
		if b != 0 {
			return errors.New("the padding of a string is not zero")
		}
	}
	return nil
}
