package tree

import (
	"archive/tar"
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/varve-image/varve/internal/layertest"
	"github.com/varve-image/varve/internal/testtools"
)

// lenient is a layer on lowerLayer that container engines accept.
type lenient struct {
	name  string
	layer []byte
	want  string // the tree's paths, with link targets
	// exact is the error with Exact; empty means none.
	exact string
}

func lowerLayer(t testing.TB) []byte {
	return makeTar(t, dir("a"), reg("a/a", "low"), dir("b"), reg("b/a", "b"), reg("f", "file"))
}

func lenients(t testing.TB) []lenient {
	one := makeTar(t, reg("n", "text"))
	whole := makeTar(t, reg("n", strings.Repeat("n", 512)))
	at := func(seconds int64) []byte {
		return makeTar(t, tar.Header{Name: "t", Typeflag: tar.TypeReg, Mode: 0o644, ModTime: time.Unix(seconds, 0), Format: tar.FormatPAX})
	}
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	const lower, added, timed = "a a/a b b/a f", "a a/a b b/a f n", "a a/a b b/a f t"
	return []lenient{
		{"no end", whole[:1024], added, "cut short"},
		{"half an end", whole[:1536], added, "cut short"},
		{"no end and no padding", one[:516], added, "cut short"},
		{"no end and half a padding", one[:600], added, "cut short"},
		{"empty", nil, lower, "empty"},
		{"half an end alone", make([]byte, 512), lower, "cut short"},
		{"bytes behind the end", join(whole, []byte("garbage")), added, "after the end"},
		{"a tar behind the end", join(whole, makeTar(t, reg("m", ""))), added, "after the end"},
		{"before 1970", at(-5), timed, "not in the years"},
		{"after 9999", at(253402300800), timed, "not in the years"},
		{"whiteout, then a symlink", makeTar(t, wh("a/.wh.a"), sym("a", "b")), "a->b b b/a f", ""},
		{"directory, whiteout, then a symlink", makeTar(t, dir("a"), wh("a/.wh.a"), sym("a", "b")), "a->b b b/a f", ""},
		{"opaque, then a symlink", makeTar(t, wh("a/.wh..wh..opq"), sym("a", "b")), "a->b b b/a f", ""},
		{"whiteout, then a file", makeTar(t, wh("a/.wh.a"), reg("a", "now")), "a b b/a f", ""},
		{"whiteout deep, then a file", makeTar(t, wh("a/x/y/.wh.a"), reg("a", "now")), "a b b/a f", ""},
		{"whiteout below a file", makeTar(t, wh("f/.wh.x")), lower, ""},
		{"opaque below a file", makeTar(t, wh("f/.wh..wh..opq")), lower, ""},
		{"whiteout deep below a file", makeTar(t, wh("f/y/.wh.x")), lower, ""},
		{"whiteout below what is gone", makeTar(t, wh(".wh.a"), wh("a/.wh.a")), "b b/a f", ""},
		{"whiteout below a file that is gone", makeTar(t, wh(".wh.f"), wh("f/.wh.x")), "a a/a b b/a", ""},
	}
}

// paths returns the paths of a tree.
func paths(entries []*Entry) string {
	var all []string
	for _, e := range entries[1:] {
		text := e.Path
		if e.Type == Symlink {
			text += "->" + e.Linkname
		}
		all = append(all, text)
	}
	return strings.Join(all, " ")
}

// TestOverlayLenient: stored layers that varve would not write like that are read as by Docker
// and umoci, and refused where they have to be exact.
func TestOverlayLenient(t *testing.T) {
	for _, c := range lenients(t) {
		t.Run(c.name, func(t *testing.T) {
			layers := memLayers(lowerLayer(t), c.layer)
			o, err := OpenOverlay(t.Context(), layers, OverlayOptions{TempDir: t.TempDir()})
			if wantError(t, err) {
				return
			}
			defer o.Close()
			checkTree(t, o.Entries)
			if got := paths(o.Entries); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if e := Find(o.Entries, "t"); e != nil && e.ModTime != 0 {
				t.Errorf("its time is %d, want 0", e.ModTime)
			}
			before := full(t, o.Entries)
			if err := o.Spool(t.Context()); err != nil {
				t.Fatal(err)
			}
			if after := full(t, o.Entries); after != before {
				t.Errorf("spooled:\n%snot:\n%s", after, before)
			}
			_, err = OpenOverlay(t.Context(), memLayers(lowerLayer(t), c.layer), OverlayOptions{Exact: true})
			if c.exact != "" {
				wantError(t, err, c.exact)
			} else {
				wantError(t, err)
			}
		})
	}
}

// TestOverlayLenientUmoci: umoci shows the same.
func TestOverlayLenientUmoci(t *testing.T) {
	umoci := testtools.Need(t, "umoci")
	testtools.NeedRoot(t)
	for _, c := range lenients(t) {
		t.Run(c.name, func(t *testing.T) {
			temp := t.TempDir()
			layout, root := filepath.Join(temp, "layout"), filepath.Join(temp, "root")
			if err := layertest.Layout(layout, "x", lowerLayer(t), c.layer); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(umoci, "raw", "unpack", "--image", layout+":x", root).CombinedOutput(); err != nil {
				t.Fatalf("umoci: %v\n%s", err, out)
			}
			if got := paths(unpacked(t, root)); got != c.want {
				t.Errorf("umoci has %s, want %s", got, c.want)
			}
		})
	}
}
