package tarindex

import (
	"archive/tar"
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// TestMemory: of PAX headers only the names are kept.
func TestMemory(t *testing.T) {
	const n, comment = 200, 100_000
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := range n {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprint(strings.Repeat("d/", 100), i), Mode: 0o644,
			PAXRecords: map[string]string{"comment": strings.Repeat("c", comment)}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	before := heapInUse()
	a, err := Read(t.Context(), &b, Options{TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if each := (heapInUse() - before) / n; each > 2000 {
		t.Errorf("it takes %d bytes for each member", each)
	}
	if m, err := a.Member(strings.Repeat("d/", 100) + "7"); err != nil || m.Header.Size != 0 {
		t.Errorf("member: %v", err)
	}
	runtime.KeepAlive(&b)
}

// heapInUse returns how many bytes of memory are in use.
func heapInUse() int64 {
	runtime.GC()
	runtime.GC() // what had finalizers
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
