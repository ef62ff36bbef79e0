package sandbox

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/iotest"
)

// TestCopySparse: what is copied is what is read, and zeros take no room.
func TestCopySparse(t *testing.T) {
	text := bytes.Repeat([]byte("text"), 10_000)
	zeros := make([]byte, 8<<20)
	for name, content := range map[string][]byte{
		"empty": {}, "text": text, "zeros": zeros, "a hole": bytes.Join([][]byte{text, zeros, text}, nil),
		"a hole at the end": append(bytes.Clone(text), zeros...),
	} {
		t.Run(name, func(t *testing.T) {
			f, err := os.Create(filepath.Join(t.TempDir(), "f"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			n, err := copySparse(f, iotest.HalfReader(bytes.NewReader(content)))
			if err != nil || n != int64(len(content)) {
				t.Fatalf("%d bytes, error %v; want %d", n, err, len(content))
			}
			got, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<30))
			if err != nil || !bytes.Equal(got, content) {
				t.Errorf("%d bytes are other than those written (error %v)", len(got), err)
			}
			st, err := f.Stat()
			if err != nil {
				t.Fatal(err)
			}
			if used := st.Sys().(*syscall.Stat_t).Blocks * 512; used > 512<<10 {
				t.Errorf("it takes %d bytes", used)
			}
		})
	}
	wrong := os.ErrDeadlineExceeded
	if _, err := copySparse(nil, iotest.ErrReader(wrong)); err != wrong {
		t.Errorf("error %v, want that of the reader", err)
	}
}
