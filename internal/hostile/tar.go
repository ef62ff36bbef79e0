package hostile

import (
	"bytes"
	"fmt"
	"strconv"
)

const block = 512

// Entry is a member of a tar, written as given: nothing is checked, and nothing
// added except for a name that does not fit its field.
type Entry struct {
	Name, Link string
	// Type is the type flag; 0 means a regular file.
	Type byte
	// Mode 0 means 0644, and 0755 for a directory.
	Mode, UID, GID, ModTime int64
	Major, Minor            int64
	Content                 string
	// Size is the size of Content according to the header; 0 means the true size
	// and -1 means 0.
	Size int64
	// PAX are the records of an extended header before the entry, KEY=VALUE each,
	// in this order.
	PAX []string
}

// File returns a regular file.
func File(name, content string) Entry { return Entry{Name: name, Content: content} }

// Dir returns a directory.
func Dir(name string) Entry { return Entry{Name: name, Type: '5'} }

// Symlink returns a symlink to target.
func Symlink(name, target string) Entry { return Entry{Name: name, Type: '2', Link: target} }

// HardLink returns a hard link to target.
func HardLink(name, target string) Entry { return Entry{Name: name, Type: '1', Link: target} }

// Tar returns a complete tar of the entries.
func Tar(entries ...Entry) []byte {
	return append(Cut(entries...), make([]byte, 2*block)...)
}

// Cut returns a tar without its end.
func Cut(entries ...Entry) []byte {
	var b bytes.Buffer
	for _, e := range entries {
		e.write(&b)
	}
	return b.Bytes()
}

func (e Entry) write(b *bytes.Buffer) {
	if len(e.PAX) > 0 {
		b.Write(PAX('x', e.PAX...))
	}
	if len(e.Link) > 100 {
		b.Write(Member('K', "././@LongLink", "", e.Link+"\x00"))
	}
	if len(e.Name) > 100 {
		b.Write(Member('L', "././@LongLink", "", e.Name+"\x00"))
	}
	b.Write(e.header())
	writePadded(b, e.Content)
}

func writePadded(b *bytes.Buffer, content string) {
	b.WriteString(content)
	b.Write(make([]byte, (block-len(content)%block)%block))
}

// header returns the entry's own header block.
func (e Entry) header() []byte {
	if e.Type == 0 {
		e.Type = '0'
	}
	if e.Mode == 0 {
		e.Mode = 0o644
		if e.Type == '5' {
			e.Mode = 0o755
		}
	}
	switch e.Size {
	case 0:
		e.Size = int64(len(e.Content))
	case -1:
		e.Size = 0
	}
	h := make([]byte, block)
	copy(h[:100], e.Name)
	number(h[100:108], e.Mode)
	number(h[108:116], e.UID)
	number(h[116:124], e.GID)
	number(h[124:136], e.Size)
	number(h[136:148], e.ModTime)
	h[156] = e.Type
	copy(h[157:257], e.Link)
	copy(h[257:], "ustar  \x00") // GNU's format: numbers may be in base 256
	number(h[329:337], e.Major)
	number(h[337:345], e.Minor)
	Sum(h)
	return h
}

// number writes n in octal, or in base 256 if it does not fit.
func number(field []byte, n int64) {
	if text := fmt.Sprintf("%0*o", len(field)-1, n); n >= 0 && len(text) < len(field) {
		copy(field, text)
		return
	}
	for i := range field {
		shift := 8 * (len(field) - 1 - i)
		field[i] = byte(n >> min(shift, 63))
	}
	field[0] |= 0x80
}

// Sum sets the checksum of a header block.
func Sum(header []byte) {
	copy(header[148:156], "        ")
	sum := 0
	for _, c := range header[:block] {
		sum += int(c)
	}
	copy(header[148:156], fmt.Sprintf("%06o\x00 ", sum))
}

// Sums returns a tar whose headers have the right checksums, as far as the sizes in
// them lead, so that a fuzzer that changes a byte gets past the checksums.
func Sums(data []byte) []byte {
	data = bytes.Clone(data)
	for at := 0; at+block <= len(data); {
		header := data[at : at+block]
		if bytes.Count(header, []byte{0}) == block {
			break
		}
		Sum(header)
		size, err := strconv.ParseUint(string(bytes.Trim(header[124:136], " \x00")), 8, 31)
		if err != nil {
			size = 0
		}
		at += block + (int(size)+block-1)/block*block
	}
	return data
}

// Member returns a member of any type with its header and padded content.
func Member(kind byte, name, link, content string) []byte {
	var b bytes.Buffer
	b.Write(Entry{Name: name, Type: kind, Link: link, Content: content}.header())
	writePadded(&b, content)
	return b.Bytes()
}

// PAX returns an extended header of type kind ('x', or 'g' for a global one).
func PAX(kind byte, records ...string) []byte {
	var text bytes.Buffer
	for _, r := range records {
		n := len(r) + 3
		for n != len(fmt.Sprint(n))+len(r)+2 {
			n++
		}
		fmt.Fprintf(&text, "%d %s\n", n, r)
	}
	return Member(kind, "././@PaxHeader", "", text.String())
}
