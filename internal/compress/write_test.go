package compress_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/layer"
)

func TestParse(t *testing.T) {
	for _, test := range []struct {
		in, ext, mediaType string
		want               compress.Compression
	}{
		{"none", "", v1.MediaTypeImageLayer, compress.Compression{Algorithm: compress.None}},
		{"gz", ".gz", v1.MediaTypeImageLayerGzip, compress.Compression{Algorithm: compress.Gzip}},
		{"gz:1", ".gz", v1.MediaTypeImageLayerGzip, compress.Compression{Algorithm: compress.Gzip, Level: 1}},
		{"gz:9", ".gz", v1.MediaTypeImageLayerGzip, compress.Compression{Algorithm: compress.Gzip, Level: 9}},
		{"zstd", ".zst", v1.MediaTypeImageLayerZstd, compress.Compression{Algorithm: compress.Zstd}},
		{"zstd:22", ".zst", v1.MediaTypeImageLayerZstd, compress.Compression{Algorithm: compress.Zstd, Level: 22}},
	} {
		c, err := compress.Parse(test.in)
		if err != nil || c != test.want {
			t.Errorf("Parse(%q) = %+v, %v; want %+v", test.in, c, err, test.want)
			continue
		}
		if c.String() != test.in || c.Ext() != test.ext || c.MediaType() != test.mediaType {
			t.Errorf("%q: got %q, %q, %q; want %q, %q, %q", test.in, c.String(), c.Ext(), c.MediaType(), test.in, test.ext, test.mediaType)
		}
	}
	for _, in := range []string{
		"", ":", ":6", "gzip", "GZ", "xz", "gz:", "gz:0", "gz:10", "gz:-1", "gz:+1", "gz:06", "gz: 6", "gz:6 ",
		"gz:6:7", "zstd:0", "zstd:23", "zstd:99999999999999999999", "none:1", "none:", "gz\n",
	} {
		if c, err := compress.Parse(in); err == nil {
			t.Errorf("Parse(%q) = %+v; want an error", in, c)
		} else if !strings.Contains(err.Error(), fmt.Sprintf("%q", in)) {
			t.Errorf("Parse(%q): the error does not quote it: %v", in, err)
		}
	}
}

func TestZeroCompressionIsGzip(t *testing.T) {
	var zero compress.Compression
	if zero.String() != "gz" || zero.Ext() != ".gz" || zero.MediaType() != v1.MediaTypeImageLayerGzip {
		t.Errorf("the zero Compression is %s, %q, %s", zero, zero.Ext(), zero.MediaType())
	}
	if !bytes.Equal(compressed(t, zero, []byte("x")), compressed(t, compress.Compression{Algorithm: compress.Gzip, Level: 6}, []byte("x"))) {
		t.Error("the zero Compression does not write what gz:6 writes")
	}
}

func TestNewWriterRefusesBadCompression(t *testing.T) {
	for _, c := range []compress.Compression{
		{Algorithm: "xz"}, {Algorithm: compress.Gzip, Level: 10}, {Algorithm: compress.Gzip, Level: -2},
		{Algorithm: compress.Zstd, Level: 23}, {Algorithm: compress.None, Level: 1},
	} {
		if _, err := c.NewWriter(t.Context(), io.Discard); err == nil {
			t.Errorf("%+v: no error", c)
		}
	}
}

// corpus returns n bytes that never change: text, tables of numbers, noise and
// zeros in turns, as in layers.
func corpus(n int) []byte {
	state := uint64(0x9e3779b97f4a7c15)
	next := func() uint64 { // xorshift64*
		state ^= state >> 12
		state ^= state << 25
		state ^= state >> 27
		return state * 2685821657736338717
	}
	words := make([][]byte, 500)
	for i := range words {
		for range 2 + next()%9 {
			words[i] = append(words[i], 'a'+byte(next()%26))
		}
		words[i] = append(words[i], ' ')
	}
	b := make([]byte, 0, n+100)
	for kind := 0; len(b) < n; kind++ {
		for end := min(len(b)+int(50_000+next()%200_000), n); len(b) < end; {
			switch r := next(); kind % 4 {
			case 0:
				b = append(b, words[r%500*(r>>32%500)/500]...)
			case 1:
				b = append(b, byte(r), byte(r>>40)&3, 0, byte(kind))
			case 2:
				b = append(b, byte(r>>56), byte(r>>48), byte(r>>40), byte(r>>32))
			case 3:
				b = append(b, make([]byte, 64)...)
			}
		}
	}
	return b[:n]
}

func compressed(t testing.TB, c compress.Compression, data []byte) []byte {
	t.Helper()
	return compressChunks(t, c, data, len(data)+1)
}

func compressChunks(t testing.TB, c compress.Compression, data []byte, chunk int) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := c.NewWriter(t.Context(), &out)
	if err != nil {
		t.Fatal(err)
	}
	for len(data) > 0 {
		n := min(chunk, len(data))
		if _, err := w.Write(data[:n]); err != nil {
			t.Fatal(err)
		}
		data = data[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func parse(t testing.TB, s string) compress.Compression {
	t.Helper()
	c, err := compress.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func sha(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// TestCompressedBytesAreTheFormat checks the digests of what the compressors write:
// registries and caches identify layers by them.
func TestCompressedBytesAreTheFormat(t *testing.T) {
	const golden = "testdata/compress.golden"
	inputs := []struct {
		name string
		data []byte
	}{
		{"empty", nil},
		{"small", corpus(1000)},
		{"corpus", corpus(18<<20 + 12345)}, // more than one worker's share at every level
	}
	got := "format " + layer.CompressionVersion + "\n"
	for _, in := range inputs {
		got += fmt.Sprintf("%s %d input %s\n", sha(in.data), len(in.data), in.name)
		for _, level := range []string{"gz:1", "gz", "gz:9", "zstd:1", "zstd", "zstd:7", "zstd:19"} {
			out := compressed(t, parse(t, level), in.data)
			got += fmt.Sprintf("%s %d %s %s\n", sha(out), len(out), level, in.name)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("compressed bytes have changed. If a module was upgraded: an upgrade that changes them is a change "+
			"of the format. Raise CompressionVersion, say so in the release notes, and write this to %s:\n%s", golden, got)
	}
}

func TestCompressedBytesDependOnInputAlone(t *testing.T) {
	all := corpus(9 << 20)
	for _, test := range []struct {
		level  string
		size   int // more than one worker's share
		chunks []int
	}{
		{"none", 1 << 20, []int{1, 511, 1 << 18}},
		{"gz:1", 1<<20 + 1, []int{1, 511, 1 << 18, 1 << 20}},
		{"gz", 2 << 20, []int{511, 1 << 20}},
		{"zstd:1", 9 << 20, []int{511, 4 << 20}},
		{"zstd", 4<<20 + 1, []int{1, 511, 1 << 20, 4 << 20}},
	} { // zstd:19 has the workers of the other levels, and takes long
		t.Run(test.level, func(t *testing.T) {
			c, data := parse(t, test.level), all[:test.size]
			want := sha(compressed(t, c, data))
			for _, procs := range []int{1, 8} { // also the machine's own
				old := runtime.GOMAXPROCS(procs)
				got := sha(compressChunks(t, c, data, 100_003))
				runtime.GOMAXPROCS(old)
				if got != want {
					t.Errorf("GOMAXPROCS=%d: other bytes", procs)
				}
			}
			for _, chunk := range test.chunks {
				if got := sha(compressChunks(t, c, data, chunk)); got != want {
					t.Errorf("writes of %d bytes: other bytes", chunk)
				}
			}
			if got := sha(compressCopy(t, c, data)); got != want {
				t.Error("io.Copy: other bytes")
			}
		})
	}
}

// compressCopy writes with io.Copy after a first Write, which an encoder with
// a ReadFrom of its own would notice.
func compressCopy(t *testing.T, c compress.Compression, data []byte) []byte {
	var out bytes.Buffer
	w, err := c.NewWriter(t.Context(), &out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data[:777]); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(w, struct{ io.Reader }{bytes.NewReader(data[777:])}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestGzipHeader(t *testing.T) {
	out := compressed(t, compress.Compression{Algorithm: compress.Gzip}, []byte("x"))
	if want := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}; !bytes.Equal(out[:10], want) {
		t.Errorf("header % x; want % x: no flags, no time, no name, system 255", out[:10], want)
	}
}

func TestZstdHeader(t *testing.T) {
	for _, n := range []int{0, 1, 1000, 200_000, 5 << 20} {
		var h zstd.Header
		if err := h.Decode(compressed(t, compress.Compression{Algorithm: compress.Zstd}, corpus(n))); err != nil {
			t.Fatal(err)
		}
		if n > 0 && (!h.HasCheckSum || h.SingleSegment) || h.WindowSize > 1<<20 {
			t.Errorf("%d bytes: header %+v; want a checksum, a window of at most 1 MiB, no single segment", n, h)
		}
	}
}

// failingWriter accepts a number of bytes, then fails.
type failingWriter struct {
	left int
	err  error
}

func (w *failingWriter) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left < 0 {
		return 0, w.err
	}
	return len(p), nil
}

func TestWriterStopsWhereOutputFails(t *testing.T) {
	data := corpus(5 << 20)
	full := errors.New("no space left")
	before := runtime.NumGoroutine()
	for _, level := range []string{"none", "gz:1", "zstd", "zstd:19"} {
		for _, room := range []int{0, 5, 100, 20_000, 1 << 20} {
			w, err := parse(t, level).NewWriter(t.Context(), &failingWriter{left: room, err: full})
			if err != nil {
				t.Fatal(err)
			}
			_, writeErr := io.Copy(w, bytes.NewReader(data))
			closeErr := w.Close()
			if writeErr != nil && !errors.Is(writeErr, full) {
				t.Errorf("%s, room for %d: write: %v", level, room, writeErr)
			}
			if !errors.Is(closeErr, full) {
				t.Errorf("%s, room for %d: close: %v; want %v", level, room, closeErr, full)
			}
			if err := w.Close(); !errors.Is(err, full) {
				t.Errorf("%s, room for %d: second close: %v", level, room, err)
			}
		}
	}
	wantGoroutines(t, before)
}

func TestWriterReportsShortWrites(t *testing.T) {
	for _, level := range []string{"none", "gz", "zstd"} {
		w, err := parse(t, level).NewWriter(t.Context(), shortWriter{})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write(corpus(300_000))
		if err := w.Close(); !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("%s: %v; want a short write", level, err)
		}
	}
}

type shortWriter struct{}

func (shortWriter) Write(p []byte) (int, error) { return len(p) / 2, nil }

func TestWriterClosedEarly(t *testing.T) {
	before := runtime.NumGoroutine()
	for _, level := range []string{"none", "gz", "zstd"} {
		for _, n := range []int{0, 1, 6 << 20} {
			w, err := parse(t, level).NewWriter(t.Context(), io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(corpus(n)); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := w.Close(); err != nil {
					t.Errorf("%s: close: %v", level, err)
				}
			}
			if _, err := w.Write([]byte("x")); err == nil {
				t.Errorf("%s: a write after Close succeeds", level)
			}
		}
	}
	wantGoroutines(t, before)
}

// wantGoroutines fails if more goroutines than want are left after a while.
func wantGoroutines(t *testing.T, want int) {
	t.Helper()
	for range 100 {
		if runtime.NumGoroutine() <= want {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	buf := make([]byte, 1<<16)
	t.Errorf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), want, buf[:runtime.Stack(buf, true)])
}

// FuzzReader: whatever the bytes, reading ends, with an error or with bytes
// that compress and decompress to themselves.
