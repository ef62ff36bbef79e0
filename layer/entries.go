package layer

import (
	"archive/tar"
	"bytes"
	"strconv"
)

// entries counts the entries of a tar that is written to it, without keeping it. It stops
// counting at what it does not understand: whoever reads the tar reports that.
type entries struct {
	n int64
	// block is the header block so far, body what is left of content and padding.
	block []byte
	body  int64
	// pax is the PAX header so far; sized is the size that it gives the next entry, or -1.
	pax   []byte
	inPax bool
	sized int64
	// sparse says that blocks with a list of extents follow (GNU's format).
	sparse int64
	zeros  int
	done   bool
}

const (
	tarBlock = 512
	// maxPax limits how much of a PAX header is looked at, as in archive/tar.
	maxPax = 1 << 20
)

func newEntries() *entries { return &entries{sized: -1} }

// Write takes a piece of the tar. It never fails.
func (e *entries) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 && !e.done {
		if e.body > 0 {
			k := min(e.body, int64(len(p)))
			if e.inPax && len(e.pax) < maxPax {
				e.pax = append(e.pax, p[:k]...)
			}
			p, e.body = p[k:], e.body-k
			if e.body == 0 && e.inPax {
				e.inPax, e.sized = false, paxSize(e.pax)
			}
			continue
		}
		k := min(tarBlock-len(e.block), len(p))
		e.block, p = append(e.block, p[:k]...), p[k:]
		if len(e.block) == tarBlock {
			e.header(e.block)
			e.block = e.block[:0]
		}
	}
	return n, nil
}

// header looks at a block that is not content.
func (e *entries) header(b []byte) {
	if e.sparse > 0 { // content follows the last of the list
		if b[504] == 0 {
			e.body, e.sparse = roundBlock(e.sparse-1), 0
		}
		return
	}
	if len(bytes.TrimRight(b, "\x00")) == 0 {
		e.zeros++
		e.done = e.zeros == 2
		return
	}
	e.zeros = 0
	size, ok := tarNumber(b[124:136])
	if !ok {
		e.done = true
		return
	}
	switch b[156] {
	case tar.TypeXHeader:
		e.inPax, e.pax, e.body = true, e.pax[:0], roundBlock(size)
		e.inPax = e.body > 0
		return
	case tar.TypeXGlobalHeader, tar.TypeGNULongName, tar.TypeGNULongLink:
		e.body = roundBlock(size)
		return
	}
	e.n++
	if e.sized >= 0 {
		size = e.sized
	}
	e.sized = -1
	switch b[156] {
	case tar.TypeLink, tar.TypeSymlink, tar.TypeChar, tar.TypeBlock, tar.TypeDir, tar.TypeFifo:
		size = 0 // whatever the header says (archive/tar)
	case tar.TypeGNUSparse:
		if b[482] != 0 {
			e.sparse = size + 1
			return
		}
	}
	e.body = roundBlock(size)
}

func roundBlock(n int64) int64 { return (n + tarBlock - 1) / tarBlock * tarBlock }

// tarNumber reads a number of a header: octal, or base-256 (GNU).
func tarNumber(b []byte) (int64, bool) {
	if b[0]&0x80 != 0 {
		var n int64
		for i, c := range b {
			if i == 0 {
				c &= 0x7f
			}
			if n >= 1<<50 || i == 0 && b[0]&0x40 != 0 {
				return 0, false
			}
			n = n<<8 | int64(c)
		}
		return n, n < 1<<56
	}
	text := bytes.Trim(b, " \x00")
	if len(text) == 0 {
		return 0, true
	}
	n, err := strconv.ParseInt(string(text), 8, 64)
	return n, err == nil && n >= 0 && n < 1<<56
}

// paxSize returns the size in a PAX header (POSIX pax, "LENGTH KEY=VALUE\n"), or -1 for none.
func paxSize(data []byte) int64 {
	size := int64(-1)
	for len(data) > 0 {
		digits, _, ok := bytes.Cut(data, []byte(" "))
		n, err := strconv.Atoi(string(digits))
		if !ok || err != nil || n <= len(digits)+1 || n > len(data) {
			return size
		}
		record := data[len(digits)+1 : n]
		data = data[n:]
		if value, ok := bytes.CutPrefix(record, []byte("size=")); ok {
			if v, err := strconv.ParseInt(string(bytes.TrimSuffix(value, []byte("\n"))), 10, 64); err == nil && v >= 0 && v < 1<<56 {
				size = v
			}
		}
	}
	return size
}
