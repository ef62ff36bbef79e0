package layer

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/varve-image/varve/tree"
)

// Dialect is how a tar's headers are written.
type Dialect byte

const (
	// PAX is POSIX.1-2001 as Python's tarfile writes it: a ustar header, and an
	// extended header before it only for what does not fit or is not ASCII.
	PAX Dialect = iota
	// GNU is GNU tar's own format: base-256 numbers and L and K records for
	// what does not fit.
	GNU
)

const (
	blockSize  = 512
	recordSize = 20 * blockSize

	typePAX      = 'x'
	typeLongName = 'L'
	typeLongLink = 'K'
)

// field is the position of a header field: POSIX.1-1988 ustar, and the same in
// GNU tar's format.
type field struct{ offset, size int }

var (
	fieldName     = field{0, 100}
	fieldMode     = field{100, 8}
	fieldUID      = field{108, 8}
	fieldGID      = field{116, 8}
	fieldSize     = field{124, 12}
	fieldMtime    = field{136, 12}
	fieldChecksum = field{148, 8}
	fieldType     = field{156, 1}
	fieldLinkname = field{157, 100}
	fieldMagic    = field{257, 8}
	fieldUname    = field{265, 32}
	fieldGname    = field{297, 32}
	fieldDevmajor = field{329, 8}
	fieldDevminor = field{337, 8}
)

const (
	magicPOSIX = "ustar\x0000"
	magicGNU   = "ustar  \x00"
)

// block is one header block.
type block [blockSize]byte

func (b *block) text(f field, s string) { copy(b[f.offset:f.offset+f.size], s) }

// octal writes n with leading zeros and a NUL at the end, if it fits.
func (b *block) octal(f field, n int64) bool {
	if n < 0 || n >= 1<<(3*(f.size-1)) {
		return false
	}
	b[f.offset+f.size-1] = 0
	for i := f.offset + f.size - 2; i >= f.offset; i-- {
		b[i] = byte('0' + n&7)
		n >>= 3
	}
	return true
}

// number writes n in octal, or in base 256 as GNU tar does where that does
// not fit.
func (b *block) number(f field, n int64) {
	if b.octal(f, n) {
		return
	}
	for i := f.offset + f.size - 1; i > f.offset; i-- {
		b[i] = byte(n)
		n >>= 8
	}
	b[f.offset] = 0x80
}

func (b *block) checksum() {
	b.text(fieldChecksum, "        ")
	// Four bytes at once, each in 16 bits of its own, which 128 bytes cannot exceed.
	const even = 0x00ff00ff00ff00ff
	lanes := uint64(0)
	for i := 0; i < blockSize; i += 8 {
		eight := binary.NativeEndian.Uint64(b[i:])
		lanes += eight&even + eight>>8&even
	}
	sum := lanes&0xffff + lanes>>16&0xffff + lanes>>32&0xffff + lanes>>48
	b.octal(field{fieldChecksum.offset, 7}, int64(sum))
}

// check refuses what no tar can say, or readers differ on.
func check(e *tree.Entry) error {
	switch {
	case e.UID > tree.MaxID || e.GID > tree.MaxID:
		return fmt.Errorf("entry %q: owner %d:%d is out of range", e.Path, e.UID, e.GID)
	case e.Mode > 0o7777:
		return fmt.Errorf("entry %q: mode %#o is out of range", e.Path, e.Mode)
	case e.ModTime < 0:
		return fmt.Errorf("entry %q: its time is before 1970, which readers of tar do not agree on", e.Path)
	case e.Size < 0:
		return fmt.Errorf("entry %q: negative size", e.Path)
	case e.Size > 0 && e.Type != tree.Regular:
		return fmt.Errorf("entry %q: it has content but is not a regular file", e.Path)
	case e.Type == tree.Link && e.Linkname == "":
		return fmt.Errorf("entry %q: a hard link to nothing", e.Path)
	case !isClean(e.Path):
		return fmt.Errorf("entry %q: not a clean path below the root", e.Path)
	case hasNUL(e.Path) || hasNUL(e.Linkname) || hasNUL(e.Uname) || hasNUL(e.Gname):
		return fmt.Errorf("entry %q: NUL byte in a name", e.Path)
	}
	if err := checkXattrs(e); err != nil {
		return err
	}
	return checkType(e)
}

// isClean reports whether a path is one that tree.Entry allows: "." or names with slashes
// between them, none of which is empty, "." or "..".
func isClean(path string) bool {
	if path == "." {
		return true
	}
	start := 0
	for i := 0; i <= len(path); i++ {
		if i < len(path) && path[i] != '/' {
			continue
		}
		switch path[start:i] {
		case "", ".", "..":
			return false
		}
		start = i + 1
	}
	return true
}

// checkXattrs refuses names that would end a record's keyword early.
func checkXattrs(e *tree.Entry) error {
	if len(e.Xattrs) == 0 {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(e.Xattrs)) {
		if name == "" || hasNUL(name) || strings.Contains(name, "=") {
			return fmt.Errorf("entry %q: a tar cannot hold the extended attribute %q", e.Path, name)
		}
	}
	return nil
}

func hasNUL(s string) bool { return strings.IndexByte(s, 0) >= 0 }

func checkType(e *tree.Entry) error {
	switch e.Type {
	case tree.Regular, tree.Symlink, tree.Char, tree.Block, tree.Dir, tree.FIFO, tree.Link:
		return nil
	}
	return fmt.Errorf("entry %q: unknown type %q", e.Path, e.Type)
}

// appendHeader appends the blocks that stand before e's content, with name
// instead of e's path.
func (d Dialect) appendHeader(dst []byte, name string, e *tree.Entry) ([]byte, error) {
	if err := check(e); err != nil {
		return dst, err
	}
	if e.Type == tree.Dir && !strings.HasSuffix(name, "/") {
		name += "/"
	}
	if d == GNU {
		if len(e.Uname) > fieldUname.size || len(e.Gname) > fieldGname.size {
			return dst, fmt.Errorf("entry %q: the owner %q:%q has a name of more than %d bytes, which GNU tar's format cannot hold", e.Path, e.Uname, e.Gname, fieldUname.size)
		}
		return appendGNU(dst, name, e), nil
	}
	return appendPAX(dst, name, e), nil
}

func appendGNU(dst []byte, name string, e *tree.Entry) []byte {
	if records := xattrRecords(e); len(records) > 0 {
		dst = appendExtended(dst, records)
	}
	if len(e.Linkname) > fieldLinkname.size {
		dst = appendLong(dst, typeLongLink, e.Linkname)
	}
	if len(name) > fieldName.size {
		dst = appendLong(dst, typeLongName, name)
	}
	var b block
	b.common(e, magicGNU)
	b.text(fieldName, name)
	b.text(fieldLinkname, e.Linkname)
	b.text(fieldUname, e.Uname)
	b.text(fieldGname, e.Gname)
	b.number(fieldUID, int64(e.UID))
	b.number(fieldGID, int64(e.GID))
	b.number(fieldSize, e.Size)
	b.number(fieldMtime, e.ModTime)
	b.checksum()
	return append(dst, b[:]...)
}

// appendLong appends GNU tar's record for a long name, as GNU tar with numeric
// owners writes it: owned by 0 without a name, with a NUL at the end.
func appendLong(dst []byte, kind byte, text string) []byte {
	var b block
	b.text(fieldName, "././@LongLink")
	b.text(fieldMagic, magicGNU)
	b.octal(fieldMode, 0o644)
	b.octal(fieldUID, 0)
	b.octal(fieldGID, 0)
	b.number(fieldSize, int64(len(text))+1)
	b.octal(fieldMtime, 0)
	b[fieldType.offset] = kind
	b.checksum()
	dst = append(dst, b[:]...)
	dst = append(dst, text...)
	return appendPadding(append(dst, 0), int64(len(text))+1)
}

func appendPAX(dst []byte, name string, e *tree.Entry) []byte {
	var b block
	b.common(e, magicPOSIX)
	var room [8]record // is enough, without extended attributes
	records := b.paxText(room[:0], fieldName, "path", name)
	records = b.paxText(records, fieldLinkname, "linkpath", e.Linkname)
	records = b.paxText(records, fieldUname, "uname", e.Uname)
	records = b.paxText(records, fieldGname, "gname", e.Gname)
	records = b.paxNumber(records, fieldUID, "uid", int64(e.UID))
	records = b.paxNumber(records, fieldGID, "gid", int64(e.GID))
	records = b.paxNumber(records, fieldSize, "size", e.Size)
	records = b.paxNumber(records, fieldMtime, "mtime", e.ModTime)
	if records = append(records, xattrRecords(e)...); len(records) > 0 {
		dst = appendExtended(dst, records)
	}
	b.checksum()
	return append(dst, b[:]...)
}

// paxText writes a text, and appends a record if the field cannot hold it.
func (b *block) paxText(records []record, f field, key, s string) []record {
	ascii := asciiOnly(s)
	b.text(f, ascii)
	if len(ascii) > f.size || ascii != s {
		return append(records, record{key, s})
	}
	return records
}

// paxNumber writes a number, or 0 and appends a record if the field cannot hold it.
func (b *block) paxNumber(records []record, f field, key string, n int64) []record {
	if !b.octal(f, n) {
		b.octal(f, 0)
		return append(records, record{key, strconv.FormatInt(n, 10)})
	}
	return records
}

// common writes the fields that are alike in both dialects.
func (b *block) common(e *tree.Entry, magic string) {
	b.octal(fieldMode, int64(e.Mode))
	b[fieldType.offset] = byte(e.Type)
	b.text(fieldMagic, magic)
	if e.Type == tree.Char || e.Type == tree.Block {
		b.number(fieldDevmajor, int64(e.Devmajor))
		b.number(fieldDevminor, int64(e.Devminor))
	}
}

// record is one keyword and value of a PAX extended header.
type record struct{ key, value string }

// xattrRecords returns e's extended attributes under the keyword that star, GNU
// tar and archive/tar know.
func xattrRecords(e *tree.Entry) []record {
	if len(e.Xattrs) == 0 {
		return nil
	}
	records := make([]record, 0, len(e.Xattrs))
	for name, value := range e.Xattrs {
		records = append(records, record{tree.XattrRecord + name, value})
	}
	slices.SortFunc(records, func(a, b record) int { return strings.Compare(a.key, b.key) })
	return records
}

// appendExtended appends a PAX extended header (POSIX.1-2001, "pax Header
// Block"). As Python does, names that are not UTF-8 are announced by a
// hdrcharset record at its start; attribute values are always bytes.
func appendExtended(dst []byte, records []record) []byte {
	header := len(dst)
	dst = append(dst, zeros[:blockSize]...)
	for _, r := range records {
		if !utf8.ValidString(r.value) && !strings.HasPrefix(r.key, tree.XattrRecord) {
			dst = appendRecord(dst, record{"hdrcharset", "BINARY"})
			break
		}
	}
	for _, r := range records {
		dst = appendRecord(dst, r)
	}
	size := int64(len(dst) - header - blockSize)
	b := (*block)(dst[header:])
	b.text(fieldName, "././@PaxHeader")
	b.octal(fieldMode, 0)
	b.octal(fieldUID, 0)
	b.octal(fieldGID, 0)
	b.number(fieldSize, size)
	b.octal(fieldMtime, 0)
	b[fieldType.offset] = typePAX
	b.text(fieldMagic, magicPOSIX)
	b.checksum()
	return appendPadding(dst, size)
}

// appendRecord appends "LENGTH key=value\n", whose length counts itself.
func appendRecord(dst []byte, r record) []byte {
	rest := len(r.key) + len(r.value) + len(" =\n")
	length := rest + 1
	for length != rest+digits(length) {
		length = rest + digits(length)
	}
	dst = strconv.AppendInt(dst, int64(length), 10)
	dst = append(dst, ' ')
	dst = append(dst, r.key...)
	dst = append(dst, '=')
	dst = append(dst, r.value...)
	return append(dst, '\n')
}

// digits returns how many digits a positive number has.
func digits(n int) int {
	count := 1
	for ; n > 9; n /= 10 {
		count++
	}
	return count
}

// asciiOnly replaces each character outside ASCII, and each byte that is not
// UTF-8, by a question mark.
func asciiOnly(s string) string {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return strings.Map(func(r rune) rune {
				if r >= utf8.RuneSelf {
					return '?'
				}
				return r
			}, s)
		}
	}
	return s
}

var zeros [recordSize]byte

// appendPadding fills up the last block of size bytes of content.
func appendPadding(dst []byte, size int64) []byte {
	return append(dst, zeros[:padding(size, blockSize)]...)
}

func padding(size, unit int64) int64 { return (unit - size%unit) % unit }
