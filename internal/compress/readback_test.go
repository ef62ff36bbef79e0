package compress_test

import (
	"bytes"
	stdgzip "compress/gzip"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/testtools"
)

func TestOtherToolsReadIt(t *testing.T) {
	data := corpus(5<<20 + 99)
	for _, test := range []struct {
		level, tool string
		args        []string
	}{
		{"gz:1", "gzip", []string{"-dc"}},
		{"gz", "gzip", []string{"-dc"}},
		{"gz:9", "pigz", []string{"-dc"}},
		{"zstd:1", "zstd", []string{"-dcq"}},
		{"zstd", "zstd", []string{"-dcq"}},
		{"zstd:22", "zstd", []string{"-dcq", "-M8MB"}},
	} {
		t.Run(test.level+" "+test.tool, func(t *testing.T) {
			tool := testtools.Need(t, test.tool)
			c := parse(t, test.level)
			for _, in := range [][]byte{nil, data[:1], data} {
				file := filepath.Join(t.TempDir(), "f"+c.Ext())
				if err := os.WriteFile(file, compressed(t, c, in), 0o600); err != nil {
					t.Fatal(err)
				}
				if out, err := exec.Command(tool, "-t", file).CombinedOutput(); err != nil {
					t.Errorf("%s -t: %v: %s", test.tool, err, out)
				}
				out, err := exec.Command(tool, append(test.args, file)...).Output()
				if err != nil || !bytes.Equal(out, in) {
					t.Errorf("%s: %d bytes, %v; want the %d that went in", test.tool, len(out), err, len(in))
				}
			}
		})
	}
	t.Run("compress/gzip", func(t *testing.T) {
		z, err := stdgzip.NewReader(bytes.NewReader(compressed(t, compress.Compression{}, data)))
		if err != nil {
			t.Fatal(err)
		}
		if out, err := io.ReadAll(z); err != nil || !bytes.Equal(out, data) {
			t.Errorf("%d bytes, %v", len(out), err)
		}
	})
}

func TestReaderTellsByMagic(t *testing.T) {
	data := corpus(300_000)
	gz := compressed(t, compress.Compression{Algorithm: compress.Gzip}, data)
	zst := compressed(t, compress.Compression{Algorithm: compress.Zstd}, data)
	skippable := []byte{0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 'x', 'y', 'z'}
	for _, test := range []struct {
		name string
		in   []byte
		out  []byte
		want compress.Algorithm
	}{
		{"empty", nil, nil, compress.None},
		{"three bytes", []byte("abc"), []byte("abc"), compress.None},
		{"plain", data, data, compress.None},
		{"gzip", gz, data, compress.Gzip},
		{"gzip, two members", join(gz, gz), join(data, data), compress.Gzip},
		{"zstd", zst, data, compress.Zstd},
		{"zstd, two frames", join(zst, zst), join(data, data), compress.Zstd},
		{"zstd, skippable frames", join(skippable, zst, skippable, zst, skippable), join(data, data), compress.Zstd},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, algorithm, err := compress.NewReader(bytes.NewReader(test.in))
			if err != nil {
				t.Fatal(err)
			}
			out, err := io.ReadAll(r)
			if err != nil || algorithm != test.want || !bytes.Equal(out, test.out) {
				t.Errorf("got %d bytes of %s, %v; want %d of %s", len(out), algorithm, err, len(test.out), test.want)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func TestReaderRefusesDamage(t *testing.T) {
	data := corpus(300_000)
	gz := compressed(t, compress.Compression{Algorithm: compress.Gzip}, data)
	zst := compressed(t, compress.Compression{Algorithm: compress.Zstd}, data)
	flip := func(b []byte, at int) []byte {
		b = bytes.Clone(b)
		b[at] ^= 1
		return b
	}
	for name, in := range map[string][]byte{
		"gzip, only the magic":         gz[:4],
		"gzip, cut":                    gz[:len(gz)-1],
		"gzip, cut in the middle":      gz[:len(gz)/2],
		"gzip, wrong checksum":         flip(gz, len(gz)-6),
		"gzip, garbage behind":         join(gz, []byte("garbage behind")),
		"zstd, only the magic":         zst[:4],
		"zstd, cut":                    zst[:len(zst)-1],
		"zstd, cut in the middle":      zst[:len(zst)/2],
		"zstd, wrong checksum":         flip(zst, len(zst)-1),
		"zstd, garbage behind":         join(zst, []byte("garbage behind")),
		"zstd, window of 2 GiB":        {0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 1, 0, 0},
		"zstd, cut in skippable frame": {0x50, 0x2a, 0x4d, 0x18, 0xff, 0xff, 0xff, 0xff, 1},
	} {
		t.Run(name, func(t *testing.T) {
			r, _, err := compress.NewReader(bytes.NewReader(in))
			if err == nil {
				_, err = io.Copy(io.Discard, r)
				r.Close()
			}
			if err == nil {
				t.Error("read without an error")
			} else if !strings.Contains(err.Error(), "decompress ") {
				t.Errorf("error does not say what failed: %v", err)
			}
		})
	}
}

func TestReaderClosedEarly(t *testing.T) {
	data := corpus(5 << 20)
	before := runtime.NumGoroutine()
	for _, level := range []string{"none", "gz", "zstd"} {
		r, _, err := compress.NewReader(bytes.NewReader(compressed(t, parse(t, level), data)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(r, make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	wantGoroutines(t, before)
}

func FuzzReader(f *testing.F) {
	data := corpus(2000)
	for _, level := range []string{"none", "gz", "zstd"} {
		f.Add(compressed(f, parse(f, level), data))
	}
	f.Add([]byte{0x1f, 0x8b})
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 1, 0, 0})
	f.Add([]byte{0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 1, 2})
	f.Fuzz(func(t *testing.T, in []byte) {
		r, algorithm, err := compress.NewReader(bytes.NewReader(in))
		if err != nil {
			return
		}
		defer r.Close()
		out, err := io.ReadAll(io.LimitReader(r, 1<<20))
		if err == nil && algorithm == compress.None && !bytes.Equal(in[:min(len(in), 1<<20)], out) {
			t.Error("plain bytes came out changed")
		}
	})
}
