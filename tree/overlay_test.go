package tree

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/varve-image/varve/internal/hostile"
)

// memLayer is a layer in memory.
type memLayer struct {
	title  string
	data   []byte
	random bool
	// fail, where it is set, is returned instead of io.EOF.
	fail  error
	opens atomic.Int32
	open  atomic.Int32 // not yet closed
}

func (l *memLayer) Title() string { return l.title }

func (l *memLayer) Open(context.Context) (io.ReadCloser, error) {
	l.opens.Add(1)
	l.open.Add(1)
	r := &memReader{bytes.NewReader(l.data), l}
	if l.random {
		return struct {
			io.ReadCloser
			io.ReaderAt
		}{r, r.Reader}, nil
	}
	return struct{ io.ReadCloser }{r}, nil
}

type memReader struct {
	*bytes.Reader
	layer *memLayer
}

func (r *memReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err == io.EOF && r.layer.fail != nil {
		err = r.layer.fail
	}
	return n, err
}

func (r *memReader) Close() error {
	r.layer.open.Add(-1)
	return nil
}

func memLayers(tars ...[]byte) []LayerSource {
	var all []LayerSource
	for i, data := range tars {
		all = append(all, &memLayer{title: fmt.Sprintf("layer-%d", i+1), data: data})
	}
	return all
}

// wantClosed checks that nothing is left open.
func wantClosed(t testing.TB, layers []LayerSource) {
	t.Helper()
	for _, l := range layers {
		if n := l.(*memLayer).open.Load(); n != 0 {
			t.Errorf("%s: %d readers are not closed", l.Title(), n)
		}
	}
}

// wh returns a whiteout.
func wh(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o600} }

func dirAs(name string, mode int64, uid int) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: mode, Uid: uid, Gid: uid}
}

func TestOverlay(t *testing.T) {
	type layer = []tar.Header
	for _, c := range []struct {
		name   string
		layers []layer
		want   string
	}{
		{name: "no layers", want: ". 5 0755 0:0 implied\n"},
		{name: "empty layer", layers: []layer{{}}, want: ". 5 0755 0:0 implied\n"},
		{name: "names are normalised", layers: []layer{{dirAs("./", 0o700, 1), reg("/abs", "1"), reg("./dot", "2"), reg("a//b/./c", "3")}}, want: `
. 5 0700 1:1
a 5 0755 0:0 implied
a/b 5 0755 0:0 implied
a/b/c 0 0644 0:0 "3"
abs 0 0644 0:0 "1"
dot 0 0644 0:0 "2"
`},
		{name: "missing parents are as below", layers: []layer{{dirAs("./", 0o711, 1), dirAs("a", 0o700, 2), dirAs("a/b", 0o1777, 3)}, {reg("a/b/c/d", "x")}}, want: `
. 5 0711 1:1
a 5 0700 2:2
a/b 5 1777 3:3
a/b/c 5 0755 0:0 implied
a/b/c/d 0 0644 0:0 "x"
`},
		{name: "whiteout before and after", layers: []layer{{reg("a", "1"), reg("b", "1"), reg("c", "1"), reg("d/x", "1"), reg("d/y", "1")}, {wh(".wh.a"), reg("a", "2"), reg("b", "2"), wh(".wh.b"), wh(".wh.c"), wh("d/.wh.x")}}, want: `
. 5 0755 0:0 implied
a 0 0644 0:0 "2"
b 0 0644 0:0 "2"
d 5 0755 0:0 implied
d/y 0 0644 0:0 "1"
`},
		{name: "opaque before and after", layers: []layer{{dirAs("a", 0o700, 1), reg("a/old", ""), dirAs("b", 0o700, 1), reg("b/old", "")}, {wh("a/.wh..wh..opq"), reg("a/new", ""), reg("b/new", ""), wh("b/.wh..wh..opq")}}, want: `
. 5 0755 0:0 implied
a 5 0700 1:1
a/new 0 0644 0:0 ""
b 5 0700 1:1
b/new 0 0644 0:0 ""
`},
		{name: "opaque root", layers: []layer{{reg("a", ""), reg("b/c", "")}, {wh(".wh..wh..opq"), reg("b/d", "")}}, want: `
. 5 0755 0:0 implied
b 5 0755 0:0 implied
b/d 0 0644 0:0 ""
`},
		{name: "whiteout of a directory that the layer has again", layers: []layer{{dirAs("a", 0o700, 1), reg("a/old", ""), dirAs("b", 0o700, 1)}, {dirAs("a", 0o711, 2), reg("a/new", ""), wh(".wh.a"), wh(".wh.b"), reg("b/x", "")}}, want: `
. 5 0755 0:0 implied
a 5 0711 2:2
a/new 0 0644 0:0 ""
b 5 0755 0:0 implied
b/x 0 0644 0:0 ""
`},
		{name: "whiteouts of a directory that the layer replaces and has again", layers: []layer{{reg("c/y", ""), reg("c/d/z", ""), reg("c/keep", "")}, {wh("c/.wh.y"), wh("c/d/.wh..wh..opq"), sym("c", "a"), dir("c")}}, want: `
. 5 0755 0:0 implied
c 5 0755 0:0
c/d 5 0755 0:0 implied
c/keep 0 0644 0:0 ""
`},
		{name: "redundant whiteouts", layers: []layer{{reg("a/x", "")}, {wh(".wh.none"), wh(".wh.a"), wh("a/.wh.x"), wh("a/b/.wh.y"), wh(".wh.none")}}, want: `
. 5 0755 0:0 implied
`},
		{name: "whiteout where nothing is", layers: []layer{{}, {wh("gone/.wh.x"), wh("gone/x/.wh..wh..opq")}}, want: `
. 5 0755 0:0 implied
`},
		{name: "whiteout of what was hidden comes back", layers: []layer{{reg("a", "1")}, {wh(".wh.a")}, {reg("a", "3")}}, want: `
. 5 0755 0:0 implied
a 0 0644 0:0 "3"
`},
		{name: "type changes", layers: []layer{
			{reg("d/x", ""), reg("f", ""), sym("s", "f"), reg("t/x", "")},
			{reg("d", "file"), dir("f/"), reg("f/y", ""), dir("s/"), sym("t", "f")}}, want: `
. 5 0755 0:0 implied
d 0 0644 0:0 "file"
f 5 0755 0:0
f/y 0 0644 0:0 ""
s 5 0755 0:0
t 2 0777 0:0 -> f
`},
		{name: "type changes and back", layers: []layer{{reg("d/x", "")}, {reg("d", "file")}, {reg("d/y", "")}}, want: `
. 5 0755 0:0 implied
d 5 0755 0:0 implied
d/y 0 0644 0:0 ""
`},
		{name: "duplicates in a layer", layers: []layer{{reg("f", "old"), reg("f", "new"), dir("d"), reg("d/x", ""), dirAs("d/", 0o700, 3), reg("e/x", ""), reg("e", "file"), sym("g", "d"), dir("g")}}, want: `
. 5 0755 0:0 implied
d 5 0700 3:3
d/x 0 0644 0:0 ""
e 0 0644 0:0 "file"
f 0 0644 0:0 "new"
g 5 0755 0:0
`},
		{name: "hard links", layers: []layer{
			{reg("f", "one"), hard("h", "f"), {Name: "o", Typeflag: tar.TypeReg, Mode: 0o4755, Uid: 7, Uname: "suid"}},
			{hard("i", "./f"), reg("f", "two"), hard("j", "/f"), wh(".wh.o"), hard("p", "o"), hard("q", "p"), hard("k", "d/s"), dir("n")},
			{hard("l", "f"), wh(".wh.f")}}, want: "hard links: " /* set below */},
		{name: "through symlinks of the same layer", layers: []layer{
			{dirAs("usr/bin", 0o711, 1)},
			{sym("bin", "usr/bin"), reg("bin/x", "1"), sym("abs", "/usr/../etc"), reg("abs/y", "2"), sym("chain", "./abs/."), reg("chain/z", "3"), sym("up", "../../.."), reg("up/esc", "4")}}, want: `
. 5 0755 0:0 implied
abs 2 0777 0:0 -> /usr/../etc
bin 2 0777 0:0 -> usr/bin
chain 2 0777 0:0 -> ./abs/.
esc 0 0644 0:0 "4"
etc 5 0755 0:0 implied
etc/y 0 0644 0:0 "2"
etc/z 0 0644 0:0 "3"
up 2 0777 0:0 -> ../../..
usr 5 0755 0:0 implied
usr/bin 5 0711 1:1
usr/bin/x 0 0644 0:0 "1"
`},
		{name: "over a symlink of a lower layer", layers: []layer{{sym("bin", "usr/bin"), reg("usr/bin/a", "")}, {reg("bin/x", "")}}, want: `
. 5 0755 0:0 implied
bin 5 0755 0:0 implied
bin/x 0 0644 0:0 ""
usr 5 0755 0:0 implied
usr/bin 5 0755 0:0 implied
usr/bin/a 0 0644 0:0 ""
`},
		{name: "aufs", layers: []layer{{dir(".wh..wh.plnk"), reg(".wh..wh.plnk/12.34", "x"), wh(".wh..wh.aufs"), reg("f", "")}}, want: `
. 5 0755 0:0 implied
f 0 0644 0:0 ""
`},
		{name: "devices", layers: []layer{{{Name: "c", Typeflag: tar.TypeChar, Mode: 0o666, Devmajor: 1, Devminor: 3}, {Name: "p", Typeflag: tar.TypeFifo, Mode: 0o600}}, {hard("c2", "c"), wh(".wh.c")}}, want: `
. 5 0755 0:0 implied
c2 3 0666 0:0 1,3
p 6 0600 0:0
`},
		{name: "odd names", layers: []layer{{reg("\xff\x1b", "1"), reg("wh.x", "2"), reg(".w", "3")}, {wh(".wh.\xff\x1b")}}, want: `
. 5 0755 0:0 implied
.w 0 0644 0:0 "3"
wh.x 0 0644 0:0 "2"
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if strings.HasPrefix(c.want, "hard links") {
				c.layers[1] = append([]tar.Header{sym("d/s", "target")}, c.layers[1]...)
				c.want = `
. 5 0755 0:0 implied
d 5 0755 0:0 implied
d/s 2 0777 0:0 -> target
h 0 0644 0:0 "one"
i 0 0644 0:0 "one"
j 0 0644 0:0 "two"
k 2 0777 0:0 -> target
l 0 0644 0:0 "two"
n 5 0755 0:0
p 0 4755 7:0 "suid"
q 0 4755 7:0 "suid"
`
			}
			var tars [][]byte
			for _, headers := range c.layers {
				tars = append(tars, makeTar(t, headers...))
			}
			layers := memLayers(tars...)
			o, err := OpenOverlay(t.Context(), layers, OverlayOptions{TempDir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			checkTree(t, o.Entries)
			wantDump(t, o.Entries, c.want)
			if err := o.Spool(t.Context()); err != nil {
				t.Fatal(err)
			}
			wantDump(t, o.Entries, c.want)
			if err := o.Close(); err != nil {
				t.Error(err)
			}
			wantClosed(t, layers)
		})
	}
}

func TestOverlayRefuses(t *testing.T) {
	type layer = []tar.Header
	xattr := func(name, value string) tar.Header {
		return tar.Header{Name: "f", Typeflag: tar.TypeReg, PAXRecords: map[string]string{"SCHILY.xattr." + name: value}}
	}
	for _, c := range []struct {
		name   string
		layers []layer
		errs   []string
	}{
		{"names", []layer{{reg("../x", ""), reg("a/../../x", ""), reg("..", ""), reg("\x1b[31m/..", "")}}, []string{`read layer "layer-1": entry "../x": `, `entry "a/../../x"`, `entry ".."`, `entry "\x1b[31m/.."`}},
		{"whiteouts", []layer{{wh(".wh."), wh("a/.wh.."), wh(".wh..."), wh(".wh..wh.x/y"), wh("a/.wh..wh.x"), reg(".wh.d/x", ""), wh("a/.wh..wh..opq/x")}},
			[]string{`entry ".wh.": `, `entry "a/.wh..": `, `entry ".wh...": `, `entry "a/.wh..wh.x": `, `entry ".wh.d/x": ".wh.d" is a whiteout, and`, `entry "a/.wh..wh..opq/x"`}},
		{"whiteout through a symlink", []layer{{sym("l", "d"), reg("d/x", ""), wh("l/.wh.x")}}, []string{`whiteouts below "l": the layer itself has a symlink there`}},
		{"whiteout through a symlink below", []layer{{sym("l", "d"), reg("d/x", "")}, {wh("l/.wh.x")}}, []string{`layer "layer-2": whiteouts below "l": a lower layer has a symlink`}},
		{"below a file", []layer{{reg("f", ""), reg("f/x", "")}}, []string{`entry "f/x": it lies below "f", which is a regular file`}},
		{"symlink to a file", []layer{{reg("f", ""), sym("l", "f"), reg("l/x", "")}}, []string{`entry "l/x": it lies below "f"`}},
		{"symlinks in a circle", []layer{{sym("a", "b"), sym("b", "a"), reg("a/x", "")}}, []string{`entry "a/x": it lies below a symlink, in "a": there are more than 40 symlinks`}},
		{"symlinks without end", []layer{{sym("a", strings.Repeat("./", 2000)+"b"), sym("b", strings.Repeat("./", 100)), reg("a/x", "")}}, []string{`entry "a/x": `, "2048 components"}},
		{"symlink to a long name", []layer{{sym("a", strings.Repeat("n", 256)), reg("a/x", "")}}, []string{`entry "a/x": `, "at most 255"}},
		{"symlink to a long path", []layer{{sym("a", strings.Repeat("nnnnnnnnn/", 400)), reg("a/"+strings.Repeat("m/", 100)+"x", "")}}, []string{"at most 4095"}},
		{"hard links", []layer{{dir("d"), sym("l", "d"), reg("d/f", "")}, {hard("a", "../etc/passwd"), hard("b", "none"), hard("c", "c"), hard("e", "d"), hard("./", "d/f"), hard("h", ".")}},
			[]string{`layer "layer-2": entry "a": it is a hard link: `, `entry "c": it is a hard link to itself`, `entry "./": the root`, `entry "h": it is a hard link to ".", which is a directory`}},
		{"hard links below", []layer{{dir("d"), sym("l", "d"), reg("d/f", "")}, {hard("b", "none"), hard("e", "d"), hard("g", "l/f"), hard("i", "d/f/x")}},
			[]string{`entry "b": it is a hard link to "none", which is neither`, `entry "e": it is a hard link to "d", which is a directory`, `entry "g": it is a hard link to "l/f", which leads through "l", a symlink`, `entry "i": `}},
		{"hard link to what comes later", []layer{{hard("b", "f"), reg("f", "")}}, []string{`entry "b": it is a hard link to "f", which is neither`}},
		{"hard link to what is hidden", []layer{{reg("f", "")}, {wh(".wh.f")}, {hard("b", "f")}}, []string{`layer "layer-3": entry "b"`}},
		{"overlayfs attributes", []layer{{xattr("trusted.overlay.opaque", "y")}}, []string{`entry "f": its extended attribute "trusted.overlay.*"`}},
		{"overlayfs attributes of users", []layer{{xattr("user.overlay.opaque", "y")}}, []string{`"user.overlay.*"`}},
		{"capability", []layer{{xattr("security.capability", "x")}}, []string{`entry "f": 1 bytes of security.capability`}},
		{"overlayfs whiteout", []layer{{{Name: "c", Typeflag: tar.TypeChar}}}, []string{`entry "c": the character device 0:0`}},
		{"owners", []layer{{{Name: "f", Typeflag: tar.TypeReg, Uid: 1<<32 - 1}, {Name: "g", Typeflag: tar.TypeReg, Gid: -1}}}, []string{`entry "f": its owner 4294967295:0`, `entry "g": its owner 0:-1`}},
		{"global header", []layer{{{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"path": "evil"}}, reg("f", "")}}, []string{`global PAX header with a "path"`}},
		{"root", []layer{{sym("./", "/etc")}}, []string{"the root must be a directory"}},
		{"all layers", []layer{{reg("..", "")}, {}, {reg("../../x", "")}}, []string{`layer "layer-1": entry "..":`, `layer "layer-3": entry "../../x":`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var tars [][]byte
			for _, headers := range c.layers {
				tars = append(tars, makeTar(t, headers...))
			}
			layers := memLayers(tars...)
			o, err := OpenOverlay(t.Context(), layers, OverlayOptions{})
			if o != nil {
				t.Error("there is an overlay: ", dump(t, o.Entries))
			}
			wantError(t, err, c.errs...)
			wantClosed(t, layers)
		})
	}
}

// TestOverlayTwoNames: tar's extensions can give a name twice. archive/tar, GNU
// tar and bsdtar differ in which one counts.
func TestOverlayTwoNames(t *testing.T) {
	var gnu bytes.Buffer
	w := tar.NewWriter(&gnu)
	if err := w.WriteHeader(&tar.Header{Name: strings.Repeat("n", 150), Typeflag: tar.TypeReg, Format: tar.FormatGNU}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	longName := gnu.Bytes()[:2*tarBlock]
	records := makeTar(t, reg(strings.Repeat("é", 80), ""))
	both := append(bytes.Clone(longName), records...)
	_, err := OpenOverlay(t.Context(), memLayers(both), OverlayOptions{})
	wantError(t, err, "it has two names")
}

func TestOverlayDamaged(t *testing.T) {
	whole := makeTar(t, reg("a", strings.Repeat("x", 1024)), reg("b", "y"))
	flipped := bytes.Clone(whole)
	flipped[512+1024+3] ^= 1
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"text", bytes.Repeat([]byte("hello\n"), 500), "not a tar archive"},
		{"cut in content", whole[:700], `entry "a": unexpected EOF`},
		{"checksum", flipped, `after entry "a"`},
		{"bomb", makeTar(t, reg("a", strings.Repeat("x", 1<<20))), "more than 100000 bytes"},
		{"many entries", makeTar(t, many(40)...), "more than 30 entries"},
		{"deep", makeTar(t, reg(strings.Repeat("d/", 40)+"x", "")), "more than 30 entries"},
	} {
		t.Run(c.name, func(t *testing.T) {
			layers := memLayers(c.data)
			_, err := OpenOverlay(t.Context(), layers, OverlayOptions{MaxBytes: 100_000, MaxEntries: 30})
			wantError(t, err, c.want, `read layer "layer-1": `)
			wantClosed(t, layers)
			// A wrong digest is the error to report.
			if c.name == "bomb" || c.name == "many entries" {
				return
			}
			bad := errors.New("wrong digest")
			layers[0].(*memLayer).fail = bad
			if _, err := OpenOverlay(t.Context(), layers, OverlayOptions{MaxBytes: 100_000, MaxEntries: 30}); !errors.Is(err, bad) {
				t.Errorf("%v, want the reader's error", err)
			}
		})
	}
	t.Run("limits are those of all layers", func(t *testing.T) {
		layers := memLayers(whole, whole, whole)
		for _, opts := range []OverlayOptions{{MaxBytes: int64(2*len(whole) + 1)}, {MaxEntries: 5}} {
			if _, err := OpenOverlay(t.Context(), layers, opts); err == nil {
				t.Errorf("%+v: no error", opts)
			}
		}
		if _, err := OpenOverlay(t.Context(), layers, OverlayOptions{MaxBytes: int64(3 * len(whole)), MaxEntries: 6}); err != nil {
			t.Error(err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := OpenOverlay(ctx, memLayers(whole), OverlayOptions{}); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func TestOverlaySparse(t *testing.T) {
	tars, want := sparseTars(t)
	for format, data := range tars {
		for _, random := range []bool{false, true} {
			layers := []LayerSource{&memLayer{title: "l", data: data, random: random}, &memLayer{title: "m", data: makeTar(t, hard("x", "sparse"))}}
			o, err := OpenOverlay(t.Context(), layers, OverlayOptions{TempDir: t.TempDir(), MaxBytes: 20 << 20})
			if err != nil {
				t.Fatalf("%s: %v", format, err)
			}
			for range 2 {
				for name, want := range map[string]string{"after": "x", "zlast": "y", "sparse": want, "x": want} {
					if got := content(t, Find(o.Entries, name)); got != want {
						t.Errorf("%s: wrong content of %q", format, name)
					}
				}
				if err := o.Spool(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			o.Close()
			wantClosed(t, layers)
			if _, err := OpenOverlay(t.Context(), layers, OverlayOptions{MaxBytes: 9<<20 - 1}); err == nil {
				t.Errorf("%s: expands beyond the limit", format)
			}
		}
	}
}

// TestOverlayHostileHeaders: numbers and extensions that would overflow or fill
// the memory.
func TestOverlayHostileHeaders(t *testing.T) {
	broken := func(at int, text string) []byte {
		b := rawHeader('0', "f", 0, "", "")
		copy(b[at:], text)
		rawSum(b)
		return append(b, make([]byte, 2*tarBlock)...)
	}
	var regions strings.Builder
	const n = 1_000_000
	fmt.Fprintln(&regions, n)
	for i := range n {
		fmt.Fprintf(&regions, "%d\n0\n", i)
	}
	sparse := append(rawPAX('x', "GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=f", "GNU.sparse.realsize=1000000"),
		rawHeader('0', "f", int(roundUp(int64(regions.Len()))), "", regions.String())...)
	for name, data := range map[string][]byte{
		"uid is not a number":      broken(108, "12x4567\x00"),
		"size is not a number":     broken(124, "99999999999\x00"),
		"size is negative":         broken(124, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xf0"),
		"size is above 2^63":       broken(124, "\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xf0"),
		"size is 2^63-1":           broken(124, "\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff"),
		"uid is 2^40":              broken(108, "\x80\x00\x01\x00\x00\x00\x00\x00"),
		"PAX header of 2 MiB":      append(rawPAX('x', "comment="+strings.Repeat("x", 2<<20)), broken(0, "")...),
		"PAX length is a lie":      append(rawHeader('x', "x", 20, "", "99999999999 path=f\n\n"), broken(0, "")...),
		"PAX time is 1e300":        append(rawPAX('x', "mtime=1"+strings.Repeat("0", 300)), broken(0, "")...),
		"a million sparse regions": append(sparse, make([]byte, 2*tarBlock)...),
	} {
		t.Run(name, func(t *testing.T) {
			layers := memLayers(data)
			if o, err := OpenOverlay(t.Context(), layers, OverlayOptions{MaxBytes: 1 << 30}); err == nil {
				t.Errorf("%s: accepted: %s", name, names(t, o.Entries))
			}
			wantClosed(t, layers)
		})
	}
}

func many(n int) []tar.Header {
	all := make([]tar.Header, n)
	for i := range all {
		all[i] = reg(fmt.Sprint(i), "")
	}
	return all
}

// TestOverlayPasses: a whole tree is read in one more pass over each layer that
// has something to show, in order.
func TestOverlayPasses(t *testing.T) {
	layers := memLayers(
		makeTar(t, reg("z", "1"), hard("h", "z"), reg("y", "2"), reg("gone", "3")),
		makeTar(t, wh(".wh.gone"), dir("d")),
		makeTar(t, reg("b", ""), reg("a", strings.Repeat("x", 100_000)), hard("h2", "z")))
	o, err := OpenOverlay(t.Context(), layers, OverlayOptions{TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	err = o.Each(t.Context(), func(files []*Entry, content io.Reader) error {
		data, err := io.ReadAll(content)
		var names []string
		for _, f := range files {
			names = append(names, f.Path)
			if f.Size != int64(len(data)) {
				t.Errorf("%q has %d bytes, not %d", f.Path, len(data), f.Size)
			}
		}
		got = append(got, fmt.Sprintf("%s=%.4s", strings.Join(names, ","), data))
		return err
	})
	if want := "[h,h2,z=1 y=2 b= a=xxxx]"; err != nil || fmt.Sprint(got) != want {
		t.Errorf("%s (%v), want %s", got, err, want)
	}
	opens := func() (n []int32) {
		for _, l := range layers {
			n = append(n, l.(*memLayer).opens.Swap(0))
		}
		return n
	}
	if got := fmt.Sprint(opens()); got != "[2 1 2]" {
		t.Errorf("layers were opened %s times", got)
	}
	stop := errors.New("stop")
	if err := o.Each(t.Context(), func([]*Entry, io.Reader) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
	opens()
	if err := o.Spool(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := dump(t, o.Entries)
	wantDump(t, o.Entries, want)
	if got := fmt.Sprint(opens()); got != "[1 0 1]" {
		t.Errorf("spooled: layers were opened %s times", got)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(o.Entries, "z").Open(); err == nil {
		t.Error("a file opens after Close")
	}
	wantClosed(t, layers)
}

func TestOverlayRandomAccess(t *testing.T) {
	data := makeTar(t, reg("a", "1"), reg("b", strings.Repeat("x", 100_000)))
	layer := &memLayer{title: "l", data: data, random: true}
	temp := t.TempDir()
	o, err := OpenOverlay(t.Context(), []LayerSource{layer}, OverlayOptions{TempDir: temp})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if err := o.Spool(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := layer.opens.Load(); n != 1 {
		t.Errorf("the layer was opened %d times: there is nothing to spool", n)
	}
	if got := content(t, Find(o.Entries, "b")); got != strings.Repeat("x", 100_000) {
		t.Error("wrong content")
	}
	wantClosed(t, []LayerSource{layer})
}

// TestOverlayChanged: what is read later has to be what was verified first.
func TestOverlayChanged(t *testing.T) {
	for _, random := range []bool{false, true} {
		layer := &memLayer{title: "l", data: makeTar(t, reg("a", "text"), reg("b", "more")), random: random}
		o, err := OpenOverlay(t.Context(), []LayerSource{layer}, OverlayOptions{TempDir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		layer.data = bytes.Replace(layer.data, []byte("more"), []byte("less"), 1)
		r, err := Find(o.Entries, "b").Open()
		if err == nil {
			_, err = io.ReadAll(r)
			r.Close()
		}
		wantError(t, err, `read "b" of layer "l": the layer changed`)
		wantError(t, o.Each(t.Context(), func([]*Entry, io.Reader) error { return nil }), `read "b" of layer "l"`)
		if !random {
			wantError(t, o.Spool(t.Context()), `read "b" of layer "l"`)
		}
		layer.data = layer.data[:1024]
		if r, err = Find(o.Entries, "b").Open(); err == nil {
			_, err = io.ReadAll(r)
		}
		wantError(t, err, `read "b" of layer "l": `, "EOF")
		o.Close()
	}
}

// TestOverlaySpoolFails: a temporary file that cannot be made or written is an
// error, and nothing is left.
func TestOverlaySpoolFails(t *testing.T) {
	layers := memLayers(makeTar(t, reg("a", "text")))
	o, err := OpenOverlay(t.Context(), layers, OverlayOptions{TempDir: t.TempDir() + "/none"})
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, o.Spool(t.Context()), "temporary file", "no such file")
	if got := content(t, Find(o.Entries, "a")); got != "text" {
		t.Errorf("%q", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o.temp = t.TempDir()
	if err := o.Spool(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if left, _ := os.ReadDir(o.temp); len(left) != 0 {
		t.Errorf("%q is left", left)
	}
	wantClosed(t, layers)
}

func FuzzOverlay(f *testing.F) {
	f.Add(makeTar(f, dir("a"), reg("a/b", "text"), sym("l", "a"), hard("h", "a/b")), makeTar(f, wh("a/.wh.b"), wh(".wh.l"), reg("l/x", "")))
	f.Add(makeTar(f, reg("a/b/c", "")), makeTar(f, wh("a/.wh..wh..opq"), hard("x", "a/b/c"), reg("a/b", "")))
	f.Add(makeTar(f, sym("l", "../../x"), reg("l/y", "1")), makeTar(f, wh(".wh."), wh(".wh..."), reg("../x", "")))
	f.Add(makeTar(f, tar.Header{Name: "f", Typeflag: tar.TypeReg, PAXRecords: map[string]string{"SCHILY.xattr.user.a": "b"}}), makeTar(f))
	for _, c := range hostile.LayerCases() {
		tars := append(slices.Clone(c.Tars), makeTar(f))
		if len(tars[0]) <= 16<<10 {
			f.Add(tars[0], tars[1])
			f.Add(makeTar(f, sym("l", "../.."), reg("f", "1")), tars[0])
		}
	}
	f.Fuzz(func(t *testing.T, lower, upper []byte) {
		layers := memLayers(hostile.Sums(lower), hostile.Sums(upper))
		o, err := OpenOverlay(t.Context(), layers, OverlayOptions{MaxBytes: 1 << 20, MaxEntries: 1000, TempDir: t.TempDir()})
		wantClosed(t, layers)
		if err != nil {
			return
		}
		defer o.Close()
		checkTree(t, o.Entries)
		want := dump(t, o.Entries)
		if err := o.Spool(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := dump(t, o.Entries); got != want {
			t.Errorf("spooled:\n%snot:\n%s", got, want)
		}
		wantClosed(t, layers)
	})
}

// TestOverlayBelow: layers go on a tree, whose entries stay what they are.
func TestOverlayBelow(t *testing.T) {
	below := []*Entry{
		{Path: ".", Type: Dir, Mode: 0o755}, {Path: "a", Type: Dir, Mode: 0o700, UID: 5}, testFile("a/gone", "x"), testFile("a/kept", "kept"),
		testFile("linked", "content"), testFile("z", "old"),
	}
	o, err := OpenOverlay(t.Context(), memLayers(makeTar(t,
		wh("a/.wh.gone"), tar.Header{Name: "z", Typeflag: tar.TypeReg, Mode: 0o600},
		tar.Header{Name: "b/l", Typeflag: tar.TypeLink, Linkname: "linked"},
	)), OverlayOptions{Below: below})
	wantError(t, err)
	wantDump(t, o.Entries, `
. 5 0755 0:0
a 5 0700 5:0
a/kept 0 0644 0:0 "kept"
b 5 0755 0:0 implied
b/l 0 0644 0:0 "content"
linked 0 0644 0:0 "content"
z 0 0600 0:0 ""
`)
	for _, e := range o.Entries {
		if old := Find(below, e.Path); old != nil && old != e && e.Path != "z" {
			t.Errorf("%q is another entry than before", e.Path)
		}
	}
	if _, err := OpenOverlay(t.Context(), nil, OverlayOptions{Below: []*Entry{testFile("a", ""), testFile("a/b", "")}}); err == nil {
		t.Error("a file below a file is not an error")
	}
}
