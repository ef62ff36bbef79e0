package layer

import (
	"archive/tar"
	"bytes"
	"io"
	"strings"
	"testing"
)

// tarOf returns a tar of headers, each with as much content as it states.
func tarOf(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(w, zeroReader{}, h.Size); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// zeroReader reads zeros: content that looks like a tar's end.
type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// entryTars are tars of everything that has a header of its own.
func entryTars(t testing.TB) [][]byte {
	long := strings.Repeat("n", 200)
	file := func(name string, size int64) tar.Header {
		return tar.Header{Name: name, Typeflag: tar.TypeReg, Size: size, Mode: 0o644}
	}
	gnu := func(h tar.Header) tar.Header { h.Format = tar.FormatGNU; return h }
	pax := file("p", 1500)
	pax.PAXRecords, pax.Format = map[string]string{"VARVE.a": "size=9\n"}, tar.FormatPAX
	sized := tarOf(t, pax)
	return [][]byte{
		tarOf(t),
		tarOf(t, file("a", 0), file("b", 1), file("c", 512), file("d", 513), file("e", 3000)),
		tarOf(t, tar.Header{Name: "d/", Typeflag: tar.TypeDir}, tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: long + "/" + long},
			tar.Header{Name: "h", Typeflag: tar.TypeLink, Linkname: "l"}, tar.Header{Name: "c", Typeflag: tar.TypeChar}),
		tarOf(t, gnu(file(long, 700)), gnu(tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: long}), gnu(file("x", 1))),
		tarOf(t, pax, tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"a": "b"}}, file("q", 2000)),
		bytes.Replace(sized, []byte("VARVE.a=size=9\n"), []byte("comment=size=9\n"), 1),
		paxSized(t),
	}
}

// paxSized is a tar whose file has its size in a PAX header alone.
func paxSized(t testing.TB) []byte {
	t.Helper()
	data := tarOf(t, tar.Header{Name: "p", Typeflag: tar.TypeReg, Size: 1500, Mode: 0o644, PAXRecords: map[string]string{"a.sz": "1500"}, Format: tar.FormatPAX},
		tar.Header{Name: "q", Typeflag: tar.TypeReg, Size: 1, Mode: 0o644})
	at := bytes.Index(data, []byte("a.sz=1500\n"))
	if at < 0 {
		t.Fatal("there is no record")
	}
	copy(data[at:], "size=1500\n")
	header := data[1024:1536]
	copy(header[124:136], "00000000000\x00")
	copy(header[148:156], "        ")
	sum := 0
	for _, c := range header {
		sum += int(c)
	}
	copy(header[148:156], []byte{'0' + byte(sum>>15&7), '0' + byte(sum>>12&7), '0' + byte(sum>>9&7), '0' + byte(sum>>6&7), '0' + byte(sum>>3&7), '0' + byte(sum&7), 0, ' '})
	return data
}

// counted returns how many entries archive/tar reads, and whether it reads to
// the end.
func counted(data []byte) (n int64, ok bool) {
	r := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := r.Next()
		if err != nil {
			return n, err == io.EOF
		}
		if h.Typeflag != tar.TypeXGlobalHeader {
			n++
		}
	}
}

// checkEntries compares the count for a tar, in pieces of a size, with what
// archive/tar reads: the count is never lower if that reads everything.
func checkEntries(t *testing.T, data []byte, piece int) {
	t.Helper()
	want, ok := counted(data)
	if !ok {
		return
	}
	e := newEntries()
	for rest := data; len(rest) > 0; rest = rest[min(piece, len(rest)):] {
		if n, err := e.Write(rest[:min(piece, len(rest))]); err != nil || n != min(piece, len(rest)) {
			t.Fatalf("Write: %d, %v", n, err)
		}
	}
	if e.n < want {
		t.Errorf("in pieces of %d bytes: %d entries, archive/tar reads %d", piece, e.n, want)
	}
}

func TestEntries(t *testing.T) {
	for i, data := range entryTars(t) {
		want, ok := counted(data)
		if !ok || i > 0 && want == 0 {
			t.Errorf("tar %d: archive/tar reads %d entries, and to the end: %t", i, want, ok)
		}
		for _, piece := range []int{1, 7, 512, 513, 1 << 20} {
			checkEntries(t, data, piece)
			e := newEntries()
			_, _ = e.Write(data)
			if e.n != want {
				t.Errorf("tar %d: %d entries, want %d", i, e.n, want)
			}
		}
	}
}

// FuzzEntries: for a tar that archive/tar reads, never fewer entries are
// counted.
func FuzzEntries(f *testing.F) {
	for _, data := range entryTars(f) {
		f.Add(data, 100)
	}
	f.Fuzz(func(t *testing.T, data []byte, piece int) {
		checkEntries(t, data, max(1, piece%2000))
	})
}
