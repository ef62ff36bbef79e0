package compress

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// fresh compresses with an encoder that was never used.
func fresh(t *testing.T, c Compression, data []byte) []byte {
	t.Helper()
	f, _ := c.algorithm().format()
	var out bytes.Buffer
	enc, err := f.write(&out, cmp.Or(c.Level, f.level))
	if err == nil {
		_, err = enc.Write(data)
	}
	if err := cmp.Or(err, enc.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// mixture returns n bytes that compress a little, other ones for each seed.
func mixture(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	data := make([]byte, 0, n+64)
	for len(data) < n {
		switch r.IntN(3) {
		case 0:
			data = append(data, byte(r.Uint32()), byte(r.Uint32()))
		case 1:
			from := r.IntN(len(data) + 1)
			data = append(data, data[from:min(from+r.IntN(60), len(data))]...)
		case 2:
			data = append(data, "some words that come again"[:r.IntN(26)]...)
		}
	}
	return data[:n]
}

// TestEncodersAreUsedAgain: an encoder that has compressed something else writes the bytes of a new
// one, also after an error or an end that came too early.
func TestEncodersAreUsedAgain(t *testing.T) {
	sizes := []int{0, 1, 700, 1500, 128 << 10, 128<<10 + 1, 300_000, 4<<20 + 1, 1500, 0, 5 << 20}
	for _, level := range []string{"gz:1", "gz", "zstd:1", "zstd", "zstd:7"} {
		c, err := Parse(level)
		if err != nil {
			t.Fatal(err)
		}
		for i, size := range sizes {
			data := mixture(uint64(i), size)
			broken := errors.New("broken")
			if err := c.Fill(t.Context(), io.Discard, func(w io.Writer) error {
				_, err := w.Write(data)
				return cmp.Or(err, broken)
			}); err != broken {
				t.Fatalf("%s: %v", level, err)
			}
			var out bytes.Buffer
			if err := c.Fill(t.Context(), &out, func(w io.Writer) error {
				_, err := w.Write(data)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(out.Bytes(), fresh(t, c, data)) {
				t.Errorf("%s: stream %d, of %d bytes: other bytes than a new encoder's", level, i, size)
			}
		}
	}
}

// TestEncodersWearOut: an encoder is not used for ever, and not after an error of its output.
func TestEncodersWearOut(t *testing.T) {
	c := Compression{Algorithm: Gzip, Level: 1}
	take := func() *kept {
		enc, err := takeEncoder(c, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		return enc.(*kept)
	}
	old := take()
	old.worn = maxWorn
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if k := take(); k == old {
			t.Error("it is used again")
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	w, err := c.NewWriter(ctx, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(w, strings.NewReader(strings.Repeat("x", 1<<20))); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := w.Close(); !errors.Is(err, context.Canceled) {
		t.Errorf("close: %v", err)
	}
}

// BenchmarkShortStreams compresses what is between two layers of an archive.
func BenchmarkShortStreams(b *testing.B) {
	for _, level := range []string{"gz", "zstd"} {
		c, _ := Parse(level)
		data := mixture(1, 1500)
		b.Run(level, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := c.Fill(b.Context(), io.Discard, func(w io.Writer) error {
					_, err := w.Write(data)
					return err
				}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
