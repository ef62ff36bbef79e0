package sandbox

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/iotest"
)

// TestCopySparse: the copy equals what was read, and zeros take no space.
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

// endless is a layer that never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestReadChangesLimit: a layer larger than what the step may leave is reported as having
// reached its limit.
func TestReadChangesLimit(t *testing.T) {
	step := &Step{Name: "x", Limits: Limits{Disk: 1 << 20}}
	_, err := ReadChanges(t.Context(), step, endless{}, Options{TempDir: t.TempDir()})
	var limit *LimitError
	if !errors.As(err, &limit) || err.Error() != "step x was ended: it reached its limit of 1 MiB of disk" {
		t.Errorf("error %v", err)
	}
}
