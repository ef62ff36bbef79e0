package tree

import (
	"archive/tar"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/testtools"
)

// TestWriteDir: what is written matches the entries, to the last attribute,
// whatever the umask and the order of contents.
func TestWriteDir(t *testing.T) {
	testtools.NeedRoot(t)
	layers := append(difficultLayers(t), makeTar(t, tar.Header{Name: "closed/a/", Typeflag: tar.TypeDir, Mode: 0o2070, Uid: 7},
		reg("closed/a/secret", "s"), hard("closed/again", "closed/a/secret")))
	o, err := OpenOverlay(t.Context(), memLayers(layers...), OverlayOptions{})
	wantError(t, err)
	defer o.Close()
	for _, umask := range []int{0, 0o077, 0o777} {
		for way, opts := range map[string]WriteOptions{"each": {Contents: o.Each}, "open": {}} {
			t.Run(fmt.Sprintf("%s %03o", way, umask), func(t *testing.T) {
				root := t.TempDir()
				defer unix.Umask(unix.Umask(umask))
				omitted, err := WriteDir(t.Context(), openRoot(t, root), o.Entries, opts)
				wantError(t, err)
				if len(omitted) > 0 {
					t.Errorf("omitted: %v", omitted)
				}
				if got, want := full(t, unpacked(t, root)), full(t, o.Entries); got != want {
					t.Errorf("got:\n%s\nwant:\n%s", got, want)
				}
				if way == "each" && !linked(t, root, "closed/again", "closed/a/secret") {
					t.Error("hard links are several files")
				}
			})
		}
	}
}

// BenchmarkWriteDir writes many small files.
func BenchmarkWriteDir(b *testing.B) {
	var headers []tar.Header
	text := strings.Repeat("x", 2000)
	for i := range 20_000 {
		headers = append(headers, reg(fmt.Sprintf("%03d/%d", i/100, i), text))
	}
	o, err := OpenOverlay(b.Context(), memLayers(makeTar(b, headers...)), OverlayOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer o.Close()
	for b.Loop() {
		if _, err := WriteDir(b.Context(), openRoot(b, b.TempDir()), o.Entries, WriteOptions{Contents: o.Each}); err != nil {
			b.Fatal(err)
		}
	}
}
