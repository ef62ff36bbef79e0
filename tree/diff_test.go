package tree

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestDiff(t *testing.T) {
	for _, c := range []struct {
		name         string
		lower, upper []string
		want         string
		errs         []string
	}{
		{name: "nothing"},
		{name: "equal", lower: []string{"a/b=1", "l -> x"}, upper: []string{"a/b=1", "l -> x"}},
		{name: "all new", upper: []string{"a/b=1"}, want: "a/; a/b=1"},
		{name: "all gone", lower: []string{"a/b/c", "d"}, want: ".wh.a; .wh.d"},
		{name: "content", lower: []string{"a/b=1", "a/c", "z"}, upper: []string{"a/b=2", "a/c", "z"}, want: "a/; a/b=2"},
		{name: "only what is left is named", lower: []string{"a/x", "a/y/z", "b/k"}, upper: []string{"a/x", "b/"}, want: "a/; a/.wh.y; b/; b/.wh.k"},
		{name: "directory to file", lower: []string{"a/x/y", "a-"}, upper: []string{"a=1", "a-"}, want: "a=1"},
		{name: "file to directory", lower: []string{"a=1"}, upper: []string{"a/x"}, want: "a/; a/x"},
		{name: "directory to link", lower: []string{"bin/x", "bin/y"}, upper: []string{"bin -> usr/bin", "usr/bin/x"}, want: "bin -> usr/bin; usr/; usr/bin/; usr/bin/x"},
		{name: "link text", lower: []string{"l -> a"}, upper: []string{"l -> b"}, want: "l -> b"},
		{name: "names that sort between", lower: []string{"a/b", "a!", "a.b"}, upper: []string{"a!", "a.b"}, want: ".wh.a"},
		{name: "names that delete", upper: []string{"a/.wh.x", ".wh..wh..opq"}, errs: []string{`".wh..wh..opq" from`, `"a/.wh.x" from "upper:a/.wh.x": in a layer a name that begins with ".wh." deletes`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			lower, upper := testTree(t, "lower", c.lower...), testTree(t, "upper", c.upper...)
			diff, err := Diff(t.Context(), lower, upper)
			if wantError(t, err, c.errs...) {
				return
			}
			if got := short(t, diff); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestDiffEntries: entries are the same if they are one, and nothing is read.
func TestDiffEntries(t *testing.T) {
	lower := testTree(t, "lower", "a/b=1", "a/c=1", "d/e=1", "f -> g")
	upper := slices.Clone(lower)
	for _, name := range []string{"a/b", "d"} {
		i := slices.Index(upper, Find(upper, name))
		c := *upper[i]
		c.Content, c.Implied = nil, false
		upper[i] = &c
	}
	upper = Without(upper, "f")
	diff, err := DiffEntries(t.Context(), lower, upper)
	var names []string
	for _, e := range diff {
		names = append(names, e.Path)
	}
	if got := strings.Join(names, " "); err != nil || got != ". .wh.f a a/b d" {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestDiffAttributes(t *testing.T) {
	lower := testTree(t, "lower", "a/b/c", "a/d", "e/f", "g")
	change := func(name string, f func(*Entry)) []*Entry {
		var upper []*Entry
		for _, e := range lower {
			c := *e
			if c.Path == name {
				f(&c)
			}
			upper = append(upper, &c)
		}
		return upper
	}
	for _, c := range []struct {
		name, path string
		change     func(*Entry)
		want       string
	}{
		{"mode of a directory", "a/b", func(e *Entry) { e.Mode = 0o700; e.Implied = false }, "a/; a/b/"},
		{"owner", "g", func(e *Entry) { e.GID = 3 }, "g"},
		{"time", "g", func(e *Entry) { e.ModTime++ }, "g"},
		{"attributes", "a/d", func(e *Entry) { e.Xattrs = map[string]string{"user.x": ""} }, "a/; a/d"},
		{"the root", ".", func(e *Entry) { e.Mode = 0o700; e.Implied = false }, ""},
		{"an implied directory", "a/b", func(e *Entry) { e.Mode = 0o700; e.Implied = true }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			diff, err := Diff(t.Context(), lower, change(c.path, c.change))
			if err != nil {
				t.Fatal(err)
			}
			if got := short(t, diff); got != c.want {
				t.Errorf("%s: got %q, want %q", c.name, got, c.want)
			}
			if c.path == "." && (len(diff) != 1 || diff[0].Mode != 0o700) {
				t.Errorf("%s: %s", c.name, dump(t, diff))
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Diff(ctx, lower, lower); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	bad := errors.New("unreadable")
	upper := change("g", func(e *Entry) {
		e.Size = 1
		e.Content = OpenFunc(func() (io.ReadCloser, error) { return nil, bad })
	})
	lower = change("g", func(e *Entry) { e.Size = 1 })
	if _, err := Diff(t.Context(), lower, upper); !errors.Is(err, bad) {
		t.Error(err)
	}
}

// layerTar writes entries as a layer.
func layerTar(t testing.TB, entries []*Entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Typeflag: byte(e.Type), Name: e.Path, Linkname: e.Linkname, Mode: int64(e.Mode), Uid: int(e.UID), Gid: int(e.GID),
			Size: e.Size, ModTime: time.Unix(e.ModTime, 0), Devmajor: int64(e.Devmajor), Devminor: int64(e.Devminor), Format: tar.FormatPAX}
		for name, value := range e.Xattrs {
			if h.PAXRecords == nil {
				h.PAXRecords = map[string]string{}
			}
			h.PAXRecords[XattrRecord+name] = value
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatalf("%q: %v", e.Path, err)
		}
		if e.Type == Regular {
			if _, err := io.WriteString(w, content(t, e)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// randomTree makes a tree with few names, so that two of them have much in
// common. next returns numbers below its argument.
func randomTree(next func(n int) int) []*Entry {
	root := testDir(".")
	root.Mode = []uint32{0o755, 0o700}[next(2)]
	entries := []*Entry{root}
	var fill func(dir string, depth int)
	fill = func(dir string, depth int) {
		for _, name := range []string{"a", "b", "a-"} {
			name = rebase(name, ".", dir)
			var e *Entry
			switch kind := next(8); {
			case kind < 3:
				continue
			case kind < 5 && depth < 4:
				e = testDir(name)
			case kind == 5:
				e = testLink(name, []string{"a", "../b"}[next(2)])
			case kind == 6:
				e = &Entry{Path: name, Type: FIFO, Mode: 0o600}
			default:
				e = testFile(name, []string{"", "1", "2"}[next(3)])
			}
			if next(4) == 0 {
				e.UID, e.ModTime = 5, 7
			}
			entries = append(entries, e)
			if e.Type == Dir {
				fill(name, depth+1)
			}
		}
	}
	fill(".", 0)
	Sort(entries)
	return entries
}

// checkDiff checks that the difference of two trees leads from one to the other,
// and that no entry of it can be left out.
func checkDiff(t *testing.T, lower, upper []*Entry) {
	diff, err := Diff(t.Context(), lower, upper)
	if err != nil {
		t.Fatal(err)
	}
	apply := func(diff []*Entry) string {
		o, err := OpenOverlay(t.Context(), memLayers(layerTar(t, lower), layerTar(t, diff)), OverlayOptions{})
		if err != nil {
			t.Fatalf("%v\nlower:\n%s\nupper:\n%s\ndiff:\n%s", err, dump(t, lower), dump(t, upper), dump(t, diff))
		}
		defer o.Close()
		return timed(t, o.Entries)
	}
	want := timed(t, upper)
	if got := apply(diff); got != want {
		t.Errorf("lower:\n%s\ndiff:\n%s\ngives:\n%s\nnot:\n%s", dump(t, lower), dump(t, diff), got, want)
	}
	for i, e := range diff {
		if e.Type == Dir {
			continue // it may be there as a parent
		}
		if apply(append(diff[:i:i], diff[i+1:]...)) == want {
			t.Errorf("lower:\n%s\nupper:\n%s\ndiff:\n%s\n%q is superfluous", dump(t, lower), want, dump(t, diff), e.Path)
		}
	}
	present := map[string]bool{".": true}
	for _, e := range diff {
		if present[e.Path] = true; !present[parent(e.Path)] {
			t.Errorf("%q has no parent in the difference", e.Path)
		}
	}
}

func parent(name string) string {
	if i := strings.LastIndexByte(name, '/'); i > 0 {
		return name[:i]
	}
	return "."
}

// timed is dump with times.
func timed(t testing.TB, entries []*Entry) string {
	lines := strings.Split(dump(t, entries), "\n")
	for i, e := range entries {
		lines[i] += fmt.Sprintf(" @%d", e.ModTime)
	}
	return strings.Join(lines, "\n")
}

func TestDiffOverlay(t *testing.T) {
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 1))
		a, b := randomTree(r.IntN), randomTree(r.IntN)
		checkDiff(t, a, b)
		checkDiff(t, b, a)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func FuzzDiff(f *testing.F) {
	f.Add([]byte("0123456701234567"), []byte("7654321076543210"))
	f.Add([]byte{3, 0, 3, 1, 7, 2}, []byte{})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		next := func(data []byte) func(int) int {
			return func(n int) int {
				if len(data) == 0 {
					return 0
				}
				v := int(data[0]) % n
				data = data[1:]
				return v
			}
		}
		lower, upper := randomTree(next(a)), randomTree(next(b))
		checkDiff(t, lower, upper)
	})
}
