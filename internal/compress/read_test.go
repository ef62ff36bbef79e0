package compress

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"math/rand"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"

	"github.com/varve-image/varve/internal/testtools"
)

// run compresses data with a program.
func run(t testing.TB, data []byte, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(testtools.Need(t, name), args...)
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v", name, args, err)
	}
	return out
}

// all reads a stream to its end.
func all(in []byte) ([]byte, Algorithm, error) {
	r, format, err := NewReader(bytes.NewReader(in))
	if err != nil {
		return nil, format, err
	}
	defer r.Close()
	out, err := io.ReadAll(r)
	return out, format, err
}

// mixed returns data of which some can be compressed and some cannot.
func mixed(n int) []byte {
	random := rand.New(rand.NewSource(1))
	data := make([]byte, n)
	for at := 0; at < n; at += 4096 {
		if at/4096%3 == 0 {
			random.Read(data[at:min(n, at+4096)])
		}
	}
	return data
}

// TestPrograms: what the programs write is read; cut off anywhere, it is refused.
func TestPrograms(t *testing.T) {
	data := mixed(300 << 10)
	empty := []byte{}
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	zeros := func(n int) []byte { return make([]byte, n) }
	xzOf := func(data []byte, args ...string) []byte {
		return run(t, data, "xz", append([]string{"-c"}, args...)...)
	}
	gz, bz := run(t, data, "gzip", "-c"), run(t, data, "bzip2", "-c")
	for _, c := range []struct {
		name   string
		in     []byte
		format Algorithm
		want   []byte
	}{
		{"gzip", gz, Gzip, data},
		{"gzip, members", join(gz, run(t, data, "gzip", "-1")), Gzip, join(data, data)},
		{"gzip, an empty member", join(gz, run(t, nil, "gzip", "-1"), gz), Gzip, join(data, data)},
		{"gzip and zeros", join(gz, zeros(100_000)), Gzip, data},
		{"gzip and one zero", join(gz, zeros(1)), Gzip, data},
		{"gzip of nothing", run(t, nil, "gzip"), Gzip, empty},
		{"zstd", run(t, data, "zstd", "-c"), Zstd, data},
		{"bzip2", bz, Bzip2, data},
		{"bzip2, streams", join(bz, bz), Bzip2, join(data, data)},
		{"bzip2 of nothing", run(t, nil, "bzip2"), Bzip2, empty},
		{"xz", xzOf(data), Xz, data},
		{"xz -0", xzOf(data, "-0"), Xz, data},
		{"xz -9e", xzOf(data, "-9e"), Xz, data},
		{"xz, blocks", xzOf(data, "-T2", "--block-size=40KiB"), Xz, data},
		{"xz, no check", xzOf(data, "--check=none"), Xz, data},
		{"xz, crc32", xzOf(data, "--check=crc32"), Xz, data},
		{"xz, sha256", xzOf(data, "--check=sha256"), Xz, data},
		{"xz of nothing", xzOf(nil), Xz, empty},
		{"xz, streams and padding", join(xzOf(data), zeros(8), xzOf(nil), xzOf(data[:999]), zeros(4)), Xz, join(data, data[:999])},
		{"not compressed", data, None, data},
		{"nothing", nil, None, empty},
		{"a name like bzip2's", []byte("BZhello"), None, []byte("BZhello")},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, format, err := all(c.in)
			if err != nil || format != c.format || !bytes.Equal(got, c.want) {
				t.Fatalf("%d bytes of %s, %v; want %d of %s", len(got), format, err, len(c.want), c.format)
			}
			if c.format == None || strings.Contains(c.name, " and ") || strings.Contains(c.name, "streams") || strings.Contains(c.name, "members") || strings.Contains(c.name, "member") {
				return
			}
			for _, cut := range []int{1, 3, 4, 8, len(c.in) / 2} {
				if _, format, err := all(c.in[:max(0, len(c.in)-cut)]); err == nil && format != None {
					t.Errorf("%d bytes less are no error", cut)
				}
			}
		})
	}
}

// xzBlocks makes a stream by hand: its blocks contain "abc" and have a dictionary
// of the size that the byte states.
func xzBlocks(n int, properties ...byte) []byte {
	word := func(p []byte, n uint32) []byte { return binary.LittleEndian.AppendUint32(p, n) }
	sum := func(p []byte) []byte { return word(p, crc32.ChecksumIEEE(p)) }
	flags := []byte{0, 0}
	out := append([]byte(xzMagic), sum(bytes.Clone(flags))...)
	header := append([]byte{0, byte(len(properties)/3 - 1)}, properties...)
	for len(header)%4 != 0 {
		header = append(header, 0)
	}
	header[0] = byte(len(header) / 4)
	header = sum(header)
	data := []byte{1, 0, 2, 'a', 'b', 'c', 0}
	index := []byte{0}
	index = binary.AppendUvarint(index, uint64(n))
	for range n {
		out = append(append(append(out, header...), data...), 0)
		index = append(binary.AppendUvarint(index, uint64(len(header)+len(data))), 3)
	}
	for len(index)%4 != 0 {
		index = append(index, 0)
	}
	index = sum(index)
	footer := append(word(nil, uint32(len(index)/4-1)), flags...)
	out = append(word(append(out, index...), crc32.ChecksumIEEE(footer)), footer...)
	return append(out, xzFooterMagic...)
}

// TestXzRefused: damaged, too large and unknown streams are refused, with the reason.
func TestXzRefused(t *testing.T) {
	good := xzBlocks(2, xzLZMA2, 1, 0)
	if got, _, err := all(good); err != nil || string(got) != "abcabc" {
		t.Fatalf("%q, %v", got, err)
	}
	flip := func(at int) []byte {
		in := bytes.Clone(good)
		in[at] ^= 0x40
		return in
	}
	for _, c := range []struct {
		name string
		in   []byte
		want string
	}{
		{"dictionary of 4 GiB", xzBlocks(1, xzLZMA2, 1, 40), "dictionary has 4294967295 bytes"},
		{"dictionary of 192 MiB", xzBlocks(1, xzLZMA2, 1, 31), "dictionary has 201326592 bytes"},
		{"dictionary of no size", xzBlocks(1, xzLZMA2, 1, 41), "makes no sense"},
		{"filter of x86", xzBlocks(1, 4, 0, xzLZMA2, 1, 0), "filters besides LZMA2"},
		{"another filter", xzBlocks(1, 3, 1, 0), "filters besides LZMA2"},
		{"stream header", flip(7), "header is damaged"},
		{"block header", flip(14), "block's header is damaged"},
		{"footer", flip(len(good) - 1), "end is damaged"},
		{"footer's sum", flip(len(good) - 12), "end is damaged"},
		{"index", flip(len(good) - 12 - 8), "index does not match"},
		{"garbage behind", append(bytes.Clone(good), "garbage garbage"...), "something else follows"},
		{"zeros that are no multiple of four", append(bytes.Clone(good), 0, 0, 0), "unexpected EOF"},
		{"gzip and garbage", append(run(t, []byte("x"), "gzip"), "garbage"...), "gzip"},
		{"gzip, zeros and garbage", append(run(t, []byte("x"), "gzip"), "\x00\x00garbage"...), "more than zeros follow"},
		{"sha256 of something else", func() []byte {
			in := run(t, []byte("abc"), "xz", "--check=sha256")
			in[12+12+7+1+5] ^= 1
			return in
		}(), ""},
	} {
		out, _, err := all(c.in)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %q, %v; want %q", c.name, out, err, c.want)
		}
	}
}

// TestXzMemory: a dictionary is not larger than its block, and blocks leave nothing
// behind.
func TestXzMemory(t *testing.T) {
	in := xzBlocks(50_000, xzLZMA2, 1, 0)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	r, _, err := NewReader(bytes.NewReader(in))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, r); n != 150_000 || err != nil {
		t.Fatal(n, err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 400_000 {
		t.Errorf("50,000 blocks leave %d bytes", grown)
	}
	runtime.KeepAlive(r)
}

// FuzzXz: what is read is the same as with the module's own reader, and nothing
// that it refuses is accepted.
func FuzzXz(f *testing.F) {
	f.Add(xzBlocks(1, xzLZMA2, 1, 0))
	f.Add(xzBlocks(3, xzLZMA2, 1, 18))
	f.Add(append(xzBlocks(2, xzLZMA2, 1, 3), xzBlocks(0, xzLZMA2, 1, 3)...))
	f.Add(xzBlocks(1, xzLZMA2, 1, 40))
	f.Add(xzBlocks(1, 4, 0, xzLZMA2, 1, 0))
	f.Fuzz(func(t *testing.T, in []byte) {
		if !bytes.HasPrefix(in, []byte(xzMagic)) {
			in = append([]byte(xzMagic), in...)
		}
		const most = 1 << 20
		r, _, err := NewReader(bytes.NewReader(in))
		if err != nil {
			return
		}
		got, err := io.ReadAll(io.LimitReader(r, most))
		if err != nil || len(got) == most {
			return
		}
		theirs, err := xz.NewReader(bytes.NewReader(in))
		if err != nil {
			t.Fatalf("%x is %q, and to the module: %v", in, got, err)
		}
		want, err := io.ReadAll(io.LimitReader(theirs, most))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%x is %q, and to the module %q, %v", in, got, want, err)
		}
	})
}
