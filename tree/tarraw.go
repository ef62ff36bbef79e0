package tree

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// rawHeaders looks at the header blocks of an entry while archive/tar reads
// them, which does not report what it corrected. Where other readers interpret
// them differently, the entry is refused.
type rawHeaders struct {
	next  int64 // where the next header block starts
	block [tarBlock]byte
	got   int // bytes of it; if what follows is unknown, the full block with whole unset
	// text is where a long name to look at starts, or -1.
	text int64
	// extended says that the block follows extension blocks that belong to it.
	extended, emptyName, whole bool
}

// begin is called before the headers that start at an offset are read.
func (h *rawHeaders) begin(at int64) { *h = rawHeaders{next: at, text: -1} }

// see is called with what is read at an offset.
func (h *rawHeaders) see(at int64, p []byte) {
	end := at + int64(len(p))
	for !h.whole && h.got < tarBlock {
		if at <= h.text && h.text < end {
			h.emptyName = h.emptyName || p[h.text-at] == 0
			h.text = -1
		}
		from := h.next + int64(h.got)
		if from < at || from >= end {
			return
		}
		h.got += copy(h.block[h.got:], p[from-at:])
		if h.got < tarBlock {
			return
		}
		h.header()
	}
}

// header looks at a complete block.
func (h *rawHeaders) header() {
	kind := h.block[156]
	if kind != tar.TypeXHeader && kind != tar.TypeGNULongName && kind != tar.TypeGNULongLink {
		h.whole = true
		return
	}
	size, ok := rawNumber(h.block[124:136])
	if !ok { // archive/tar takes it for neither
		return
	}
	if content := h.next + tarBlock; kind != tar.TypeXHeader {
		h.text = content
		h.emptyName = h.emptyName || size == 0
	}
	h.next += tarBlock + roundUp(size)
	h.got, h.extended = 0, true
}

// rawNumber reads the size of an extended header, which is small.
func rawNumber(field []byte) (int64, bool) {
	if field[0]&0x80 != 0 {
		n := int64(0)
		for i, b := range field {
			if i == 0 {
				b &= 0x7f
			}
			if n > 1<<40 || field[0]&0x40 != 0 {
				return 0, false
			}
			n = n<<8 | int64(b)
		}
		return n, true
	}
	text, _, _ := strings.Cut(strings.Trim(string(field), " \x00"), "\x00")
	if text == "" {
		return 0, true
	}
	n, err := strconv.ParseInt(text, 8, 40)
	return n, err == nil && n >= 0
}

// check returns what other readers would read differently than archive/tar,
// which is at offset pos.
func (h *rawHeaders) check(hdr *tar.Header, pos int64) error {
	global := hdr.Typeflag == tar.TypeXGlobalHeader
	magic := string(h.block[257:265])
	switch {
	case !h.whole || !global && !isSparse(hdr) && pos != h.next+tarBlock:
		return errors.New("its headers are longer or shorter than they say")
	case global && h.extended:
		return errors.New("it is a global PAX header between the headers of one file")
	case h.emptyName:
		return errors.New("it has a long name or link target that is empty")
	case strings.HasPrefix(magic, "ustar") && magic[5] != 0 && magic != "ustar  \x00":
		return fmt.Errorf("its header is of an unknown format, %q", magic)
	}
	// Programs built with Go before 1.8 put the beginning of a name where GNU
	// tar puts times.
	if prefix := rawText(h.block[345:500]); magic == "ustar  \x00" && prefix != "" && hdr.Name == prefix+"/"+rawText(h.block[:100]) {
		return fmt.Errorf("the beginning %q of its name is where its format has times", brief(prefix))
	}
	for _, f := range []struct {
		name     string
		from, to int
	}{{"mode", 100, 108}, {"owner", 108, 116}, {"group", 116, 124}, {"size", 124, 136}, {"time", 136, 148}} {
		if field := h.block[f.from:f.to]; field[0] == 0 && len(bytes.Trim(field, " \x00")) > 0 {
			return fmt.Errorf("the %s in its header is %q", f.name, field)
		}
	}
	return nil
}

// rawText returns a header's text up to a NUL.
func rawText(field []byte) string {
	text, _, _ := strings.Cut(string(field), "\x00")
	return text
}

// CheckTarHeader refuses an entry whose PAX header says something that readers
// of tars disagree on: names, sizes or owners that are given twice, empty, or
// for all entries at once.
func CheckTarHeader(hdr *tar.Header) error {
	if hdr.Typeflag == tar.TypeXGlobalHeader {
		return checkGlobal(hdr)
	}
	for _, key := range fileRecords() {
		value, ok := hdr.PAXRecords[key]
		if ok && value == "" {
			return fmt.Errorf("its PAX header has an empty %q, which readers of tars do not agree on", key)
		}
		if strings.HasPrefix(value, "+") && slices.Contains([]string{"size", "uid", "gid", "mtime"}, key) {
			return fmt.Errorf("its PAX header has the %s %q, which readers of tars do not agree on", key, brief(value))
		}
	}
	sparse := isSparse(hdr) // its name is in a record of its own
	for _, f := range []struct{ record, value string }{{"path", hdr.Name}, {"linkpath", hdr.Linkname}} {
		record := hdr.PAXRecords[f.record]
		if record != "" && !sparse && strings.TrimRight(record, "/") != strings.TrimRight(f.value, "/") {
			return fmt.Errorf("it has two names, %q in its PAX header and %q", brief(record), brief(f.value))
		}
	}
	return checkSparse(hdr)
}

// checkSparse refuses sparse files of an unknown version, without a size or with
// two (GNU tar's manual, "Storing Sparse Files").
func checkSparse(hdr *tar.Header) error {
	record := func(name string) string { return hdr.PAXRecords["GNU.sparse."+name] }
	size, real := record("size"), record("realsize")
	version := record("major") + "." + record("minor")
	switch {
	case !slices.Contains([]string{".", "0.0", "0.1", "1.0"}, version):
		return fmt.Errorf("it is a sparse file of version %q", brief(version))
	case size != "" && real != "" && size != real:
		return fmt.Errorf("it is a sparse file of two sizes, %q and %q", brief(size), brief(real))
	case version == "1.0" && size == "" && real == "":
		return errors.New("it is a sparse file without a size")
	}
	return nil
}

// checkGlobal refuses global headers that describe files: GNU tar and bsdtar
// apply them, archive/tar and with it most container engines do not.
func checkGlobal(hdr *tar.Header) error {
	for _, key := range slices.Sorted(maps.Keys(hdr.PAXRecords)) {
		if slices.Contains(fileRecords(), key) || strings.HasPrefix(key, XattrRecord) || strings.HasPrefix(key, "GNU.sparse.") {
			return fmt.Errorf("it is a global PAX header with a %q for all files that follow, which readers of tars do not agree on", brief(key))
		}
	}
	return nil
}

// fileRecords returns the records of a PAX header that describe a file
// (POSIX.1-2001, "pax Extended Header"), except owner names, which entries do
// not keep.
func fileRecords() []string {
	return []string{"path", "linkpath", "size", "uid", "gid", "mtime", "hdrcharset"}
}
