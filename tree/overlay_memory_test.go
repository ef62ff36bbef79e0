package tree

import (
	"archive/tar"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// deepDir returns a directory whose path has length bytes, rounded down to whole
// names.
func deepDir(length int) string {
	return strings.Repeat(strings.Repeat("d", 199)+"/", length/200)
}

// numberedFiles returns a tar of n files or links below dir, each with the
// header like and a number in its name.
func numberedFiles(t testing.TB, n int, dir string, like tar.Header) []byte {
	headers := make([]tar.Header, n)
	for i := range headers {
		headers[i] = like
		headers[i].Name = fmt.Sprint(dir, like.Name, i)
	}
	return makeTar(t, headers...)
}

// TestOverlayMemory: a path is held once, and of a PAX header only what the
// entry needs.
func TestOverlayMemory(t *testing.T) {
	const n = 2000
	comment := strings.Repeat("c", 50_000)
	for name, c := range map[string]struct {
		data []byte
		most int // bytes for each entry
	}{
		"names":     {numberedFiles(t, n, deepDir(4000), reg("", "")), 4000 + 1000},
		"whiteouts": {numberedFiles(t, n, deepDir(4000), reg(".wh.", "")), 500},
		"links": {numberedFiles(t, n, "", tar.Header{Typeflag: tar.TypeSymlink, Linkname: deepDir(200), PAXRecords: map[string]string{
			"comment": comment}}), 1500},
		"attributes": {numberedFiles(t, n, "", tar.Header{Typeflag: tar.TypeReg, PAXRecords: map[string]string{
			"comment": comment, XattrRecord + "user.x": "value"}}), 1500},
	} {
		t.Run(name, func(t *testing.T) {
			x := newLayerIndex(0, memLayers(c.data)[0], newLimits(1<<30, 1<<20), true)
			before := heapInUse()
			if err := x.read(t.Context()); err != nil {
				t.Fatal(err)
			}
			if each := (heapInUse() - before) / n; each > int64(c.most) {
				t.Errorf("it takes %d bytes for each entry, want at most %d", each, c.most)
			}
			runtime.KeepAlive(x)
		})
	}
	t.Run("tarball", func(t *testing.T) {
		name := saveTar(t, numberedFiles(t, n, deepDir(4000), reg("", "")))
		before := heapInUse()
		tr, err := OpenTar(t.Context(), name, TarOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		if each := (heapInUse() - before) / n; each > 4000+1000 {
			t.Errorf("it takes %d bytes for each entry", each)
		}
	})
}

// heapInUse returns how many bytes of memory are in use.
func heapInUse() int64 {
	runtime.GC()
	runtime.GC() // what had finalizers
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestTextLimit: how long names, link targets and attributes may be is in
// proportion to how many entries there may be, whatever makes them long.
func TestTextLimit(t *testing.T) {
	const n, twice = 4600, 2400 // a path through a link counts twice
	deep := deepDir(4000)
	link := tar.Header{Typeflag: tar.TypeSymlink, Name: "l", Linkname: strings.TrimSuffix(deep, "/")}
	short := func(below string) []byte { // its names lead through a link
		headers := []tar.Header{reg(deep+"x", ""), link}
		for i := range twice {
			headers = append(headers, reg(fmt.Sprint("l/", i, below), ""))
		}
		return makeTar(t, headers...)
	}
	for name, c := range map[string]struct {
		data    []byte
		entries int
	}{
		"names":                     {numberedFiles(t, n, deep, reg("", "")), n},
		"whiteouts":                 {numberedFiles(t, n, deep, reg(".wh.", "")), n},
		"links":                     {numberedFiles(t, n, "", tar.Header{Typeflag: tar.TypeSymlink, Linkname: deep}), n},
		"attributes":                {numberedFiles(t, n, "", tar.Header{Typeflag: tar.TypeReg, PAXRecords: map[string]string{XattrRecord + "user.x": deep}}), n},
		"names through links":       {short(""), twice},
		"directories through links": {short("/x"), 2 * twice},
	} {
		t.Run(name, func(t *testing.T) {
			most := c.entries + 100
			_, err := OpenOverlay(t.Context(), memLayers(c.data), OverlayOptions{MaxEntries: most})
			wantTextLimit(t, err, most)
		})
	}
	t.Run("where more may be", func(t *testing.T) {
		if _, err := OpenOverlay(t.Context(), memLayers(numberedFiles(t, n, deep, reg("", ""))), OverlayOptions{MaxEntries: 10 * n}); err != nil {
			t.Error(err)
		}
	})
	t.Run("tarball", func(t *testing.T) {
		_, err := OpenTar(t.Context(), saveTar(t, numberedFiles(t, n, deep, reg("", ""))), TarOptions{MaxEntries: n + 100, TempDir: filepath.Join(t.TempDir(), "none")})
		wantTextLimit(t, err, n+100)
	})
	t.Run("however many", func(t *testing.T) {
		for _, entries := range []int{10_000_000, 1 << 62} {
			if l := newLimits(1, entries); l.text.max != maxText {
				t.Errorf("%d entries: %d bytes, want %d", entries, l.text.max, maxText)
			}
		}
	})
}

func wantTextLimit(t *testing.T, err error, entries int) {
	t.Helper()
	var limit *LimitError
	if !errors.As(err, &limit) || limit.Limit != LimitEntries {
		t.Fatalf("%v, want that the names are too long for %d entries", err, entries)
	}
	wantError(t, err, "names, link targets and attributes are larger than", fmt.Sprintf("for %d entries", entries))
}
