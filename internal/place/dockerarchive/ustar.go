package dockerarchive

import (
	"fmt"
	"io"
	"path"
	"strconv"
)

const (
	blockSize = 512
	// maxOctal is the first size that a ustar header cannot state.
	maxOctal = 1 << 33
)

// ustar writes a tar as Go's archive/tar does, which skopeo uses: ustar headers,
// a PAX header for what they cannot state, and no record padding at the end.
// Package layer's dialects are other programs', and archive/tar's own bytes have
// changed between versions of Go.
type ustar struct{ w io.Writer }

// header writes a member's header. Its content has to follow, and pad.
func (t ustar) header(name string, kind byte, link string, mode, size int64) error {
	if size >= maxOctal {
		// The header states the size as zero then.
		if err := t.pax(name, "size", strconv.FormatInt(size, 10)); err != nil {
			return err
		}
		size = 0
	}
	b := newBlock(name, kind, mode, size)
	copy(b[157:257], link)
	copy(b[329:], "0000000\x00") // device numbers
	copy(b[337:], "0000000\x00")
	return t.block(b)
}

// pax writes an extended header of one record for the next member (POSIX pax,
// "pax Extended Header").
func (t ustar) pax(name, key, value string) error {
	tail := " " + key + "=" + value + "\n"
	length := len(tail)
	for length != len(tail)+len(strconv.Itoa(length)) {
		length = len(tail) + len(strconv.Itoa(length))
	}
	record := strconv.Itoa(length) + tail
	dir, base := path.Split(name)
	if err := t.block(newBlock(path.Join(dir, "PaxHeaders.0", base), 'x', 0, int64(len(record)))); err != nil {
		return err
	}
	if _, err := io.WriteString(t.w, record); err != nil {
		return err
	}
	return t.pad(int64(len(record)))
}

type block [blockSize]byte

// newBlock returns a header with owner 0:0 and time 0.
func newBlock(name string, kind byte, mode, size int64) *block {
	b := &block{}
	copy(b[:100], name)
	copy(b[100:], fmt.Sprintf("%07o\x00%07o\x00%07o\x00%011o\x00%011o\x00", mode, 0, 0, size, 0))
	b[156] = kind
	copy(b[257:], "ustar\x0000")
	return b
}

// block writes a header with its checksum.
func (t ustar) block(b *block) error {
	copy(b[148:156], "        ")
	sum := 0
	for _, c := range b {
		sum += int(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00", sum))
	_, err := t.w.Write(b[:])
	return err
}

// pad ends the content of size bytes.
func (t ustar) pad(size int64) error {
	_, err := t.w.Write(make([]byte, (blockSize-size%blockSize)%blockSize))
	return err
}

// file writes a member with its content.
func (t ustar) file(name string, data []byte) error {
	size := int64(len(data))
	if err := t.header(name, '0', "", 0o444, size); err != nil {
		return err
	}
	if _, err := t.w.Write(data); err != nil {
		return err
	}
	return t.pad(size)
}

// end writes the two blocks of zeros.
func (t ustar) end() error {
	_, err := t.w.Write(make([]byte, 2*blockSize))
	return err
}
