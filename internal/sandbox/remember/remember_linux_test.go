package remember

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/varve-image/varve/internal/memo"
	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/tree"
)

// fake is a runner whose steps leave a layer.
type fake struct {
	temp string
	runs int
	make func(run int, w *tar.Writer)
	err  error
}

func (f *fake) Run(ctx context.Context, step *sandbox.Step) (*sandbox.Result, error) {
	f.runs++
	if f.err != nil {
		return nil, f.err
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	f.make(f.runs, w)
	if err := w.Close(); err != nil {
		return nil, err
	}
	return sandbox.ReadChanges(ctx, step, &layer, sandbox.Options{TempDir: f.temp})
}

// run runs a step in a test.
func (f *fake) run(t *testing.T, step *sandbox.Step, opts Options) Outcome {
	t.Helper()
	out, err := Run(t.Context(), f, step, opts, func() (*sandbox.Result, error) { return f.Run(t.Context(), step) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close() })
	return out
}

func opened(t *testing.T, dir string) *memo.Memo {
	t.Helper()
	m := memo.Open(t.Context(), dir, func(err error) { t.Errorf("warning: %v", err) })
	t.Cleanup(func() { m.Close() })
	return m
}

// put writes an entry; zeros are filled in.
func put(w *tar.Writer, h tar.Header, text string) {
	if h.Typeflag == 0 {
		h.Typeflag = tar.TypeReg
	}
	if h.Mode == 0 {
		h.Mode = 0o644
	}
	h.Size = int64(len(text))
	h.Format = tar.FormatPAX
	if err := w.WriteHeader(&h); err != nil {
		panic(err)
	}
	if _, err := io.WriteString(w, text); err != nil {
		panic(err)
	}
}

func before() []*tree.Entry {
	owned := tree.NewFile("etc/owned", 0o640, "own")
	owned.UID, owned.GID, owned.Uname, owned.Gname, owned.ModTime = 5, 6, "five", "six", 77
	implied := tree.NewImpliedDir("var")
	entries := []*tree.Entry{
		tree.NewDir(".", 0o755), tree.NewDir("etc", 0o755), owned, tree.NewFile("etc/same", 0o644, "same"),
		tree.NewDir("old", 0o755), tree.NewDir("old/in", 0o700), tree.NewFile("old/in/a", 0o644, "a"), tree.NewFile("old/b", 0o644, "b"),
		implied, tree.NewFile("var/file", 0o644, "file"),
	}
	tree.Sort(entries)
	return entries
}

func step() *sandbox.Step {
	return &sandbox.Step{Name: "test", Tree: before(), Argv: []string{"/bin/sh"}, Script: "true", Env: []string{"A=1"}, FakeRoot: true}
}

const dirHeader = tar.TypeDir

// leavings are what steps may leave, of all kinds.
var leavings = map[string]func(run int, w *tar.Writer){
	"nothing": func(_ int, w *tar.Writer) {},
	"as it was": func(_ int, w *tar.Writer) {
		put(w, tar.Header{Name: "./", Typeflag: dirHeader, Mode: 0o755}, "")
		put(w, tar.Header{Name: "etc/", Typeflag: dirHeader, Mode: 0o755}, "")
		put(w, tar.Header{Name: "etc/same"}, "same")
	},
	"files": func(run int, w *tar.Writer) {
		put(w, tar.Header{Name: "etc/", Typeflag: dirHeader, Mode: 0o755}, "")
		put(w, tar.Header{Name: "etc/random"}, fmt.Sprint(run))
		put(w, tar.Header{Name: "etc/same"}, "emas") // of the same size
		put(w, tar.Header{Name: "etc/owned", Mode: 0o640, Uid: 5, Gid: 7}, "own")
		put(w, tar.Header{Name: "etc/empty"}, "")
		put(w, tar.Header{Name: "etc/large"}, strings.Repeat("large", 100_000))
		put(w, tar.Header{Name: "etc/" + strings.Repeat("x", 200) + "/" + strings.Repeat("ü", 100)}, "long")
		put(w, tar.Header{Name: "etc/\xff\"\n"}, "name")
		put(w, tar.Header{Name: "etc/hard", Typeflag: tar.TypeLink, Linkname: "etc/large"}, "")
	},
	"special": func(_ int, w *tar.Writer) {
		put(w, tar.Header{Name: "old/", Typeflag: dirHeader, Mode: 0o3775, Uid: 1, Gid: tree.MaxID}, "")
		put(w, tar.Header{Name: "old/b", Mode: 0o6755}, "b")
		put(w, tar.Header{Name: "fifo", Typeflag: tar.TypeFifo}, "")
		put(w, tar.Header{Name: "char", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 300}, "")
		put(w, tar.Header{Name: "block", Typeflag: tar.TypeBlock, Devmajor: 8, Devminor: 1}, "")
		put(w, tar.Header{Name: "link", Typeflag: tar.TypeSymlink, Linkname: "../" + strings.Repeat("y", 150)}, "")
		put(w, tar.Header{Name: "attributes", PAXRecords: map[string]string{
			"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", "SCHILY.xattr.user.a": "b=c",
		}}, "cap")
	},
	"removals": func(_ int, w *tar.Writer) {
		put(w, tar.Header{Name: "etc/.wh.same"}, "")
		put(w, tar.Header{Name: "etc/.wh.never"}, "")
		put(w, tar.Header{Name: "old/.wh.in"}, "")
		put(w, tar.Header{Name: ".wh.var"}, "")
	},
	"opaque": func(_ int, w *tar.Writer) {
		put(w, tar.Header{Name: "old/", Typeflag: dirHeader, Mode: 0o755}, "")
		put(w, tar.Header{Name: "old/.wh..wh..opq"}, "")
		put(w, tar.Header{Name: "old/new"}, "new")
		put(w, tar.Header{Name: "old/b"}, "b")
	},
	"other types": func(_ int, w *tar.Writer) {
		put(w, tar.Header{Name: "old", Typeflag: tar.TypeSymlink, Linkname: "etc"}, "")
		put(w, tar.Header{Name: "etc/same/", Typeflag: dirHeader, Mode: 0o755}, "")
		put(w, tar.Header{Name: "etc/same/in"}, "in")
		put(w, tar.Header{Name: "var"}, "a file")
	},
	"root": func(_ int, w *tar.Writer) {
		put(w, tar.Header{Name: "./", Typeflag: dirHeader, Mode: 0o700, Uid: 3}, "")
		put(w, tar.Header{Name: "var/", Typeflag: dirHeader, Mode: 0o750}, "")
	},
}

// shown describes entries in full; those of the step's tree are marked.
func shown(t *testing.T, step *sandbox.Step, entries []*tree.Entry) string {
	t.Helper()
	var b strings.Builder
	first := map[*tree.Inode]string{nil: ""}
	for _, e := range entries {
		c := *e
		c.Content, c.Stamp, c.Inode = nil, tree.Stamp{}, nil
		if _, seen := first[e.Inode]; !seen {
			first[e.Inode] = e.Path
		}
		fmt.Fprintf(&b, "%v %+v, the file of %q", slices.Contains(step.Tree, e), c, first[e.Inode])
		if e.Content != nil {
			r, err := e.Open()
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(r)
			if err = errors.Join(err, r.Close()); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, " %x", sha256.Sum256(text))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// TestSame: what is remembered is what was left, and the step does not run for it.
func TestSame(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(leavings)) {
		t.Run(name, func(t *testing.T) {
			f := &fake{temp: t.TempDir(), make: leavings[name]}
			dir := t.TempDir()
			first, second := step(), step()
			one := f.run(t, first, Options{Memo: opened(t, dir)})
			two := f.run(t, second, Options{Memo: opened(t, dir)})
			if one.Reused || !two.Reused || one.Unsteady || two.Unsteady || f.runs != 1 {
				t.Fatalf("reused: %v, then %v; runs: %d", one.Reused, two.Reused, f.runs)
			}
			for what, list := range map[string][2][]*tree.Entry{"tree": {one.Tree, two.Tree}, "changes": {one.Changes, two.Changes}} {
				if got, want := shown(t, second, list[1]), shown(t, first, list[0]); got != want {
					t.Errorf("%s:\n%s\nwant:\n%s", what, got, want)
				}
			}
		})
	}
}

// TestNotKept: what fails, is cancelled or has no memo runs again.
func TestNotKept(t *testing.T) {
	m := opened(t, t.TempDir())
	f := &fake{temp: t.TempDir(), make: leavings["files"]}
	again := func(opts Options, s *sandbox.Step, want bool) {
		t.Helper()
		if out := f.run(t, s, opts); out.Reused != want || out.Unsteady {
			t.Errorf("reused: %v, unsteady: %v", out.Reused, out.Unsteady)
		}
	}
	f.err = &sandbox.StepError{Name: "test", ExitCode: 1}
	for range 2 {
		if _, err := Run(t.Context(), f, step(), Options{Memo: m}, func() (*sandbox.Result, error) { return f.Run(t.Context(), step()) }); err != f.err {
			t.Fatalf("error %v", err)
		}
	}
	f.err = nil
	again(Options{}, step(), false)
	again(Options{}, step(), false)
	ctx, cancel := context.WithCancel(t.Context())
	out, err := Run(ctx, f, step(), Options{Memo: m}, func() (*sandbox.Result, error) {
		res, err := f.Run(ctx, step())
		cancel()
		return res, err
	})
	if err == nil { // its result is there, and nothing is kept
		out.Close()
	}
	var why []string
	opts := Options{Memo: m, Debug: func(text string) { why = append(why, text) }}
	network, input := step(), step()
	network.Network = sandbox.NetworkHost
	input.Stdin = strings.NewReader("")
	for range 2 {
		again(opts, network, false)
		again(opts, input, false)
	}
	if got, want := strings.Join(why[:2], "; "), "it is not remembered: it has a network; it is not remembered: it has an input"; got != want {
		t.Errorf("said %q", got)
	}
	again(Options{Memo: m}, step(), false)
	again(Options{Memo: m}, step(), true)
	limited := step()
	limited.Limits = sandbox.Limits{Disk: 1, Output: 2}
	again(Options{Memo: m}, limited, true)
}

// TestUnsteady: where a step runs although it ran before, another result is reported. What is
// damaged is not used.
func TestUnsteady(t *testing.T) {
	for name, unsteady := range map[string]bool{"files": true, "special": false} {
		dir := t.TempDir()
		f := &fake{temp: t.TempDir(), make: leavings[name]}
		m := opened(t, dir)
		f.run(t, step(), Options{Memo: m})
		contents, err := filepath.Glob(filepath.Join(dir, "memo/contents/*"))
		if err != nil || len(contents) != 1 {
			t.Fatalf("%q, %v", contents, err)
		}
		data, err := os.ReadFile(contents[0])
		if err != nil {
			t.Fatal(err)
		}
		data[len(data)/3] ^= 4
		if err := os.WriteFile(contents[0], data, 0o600); err != nil {
			t.Fatal(err)
		}
		if out := f.run(t, step(), Options{Memo: m}); out.Reused || out.Unsteady != unsteady {
			t.Errorf("%s: reused: %v, unsteady: %v", name, out.Reused, out.Unsteady)
		}
		if out := f.run(t, step(), Options{Memo: m}); !out.Reused {
			t.Errorf("%s: not reused", name)
		}
	}
}

// settled opens the memo in dir once a file is old enough to be remembered.
func settled(t *testing.T, dir, name string) *memo.Memo {
	t.Helper()
	for {
		if m := opened(t, dir); m.Settled(changeOf(t, name)) {
			return m
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// TestChangedMeanwhile: what is changed while a step runs, or was just before, is not what its
// result is kept for.
func TestChangedMeanwhile(t *testing.T) {
	f := &fake{temp: t.TempDir(), make: leavings["special"]}
	dir, bound := t.TempDir(), t.TempDir()
	m := opened(t, dir)
	s := step()
	s.Binds = []sandbox.Bind{{Source: bound, Target: "/in"}}
	for range 2 {
		if out := f.run(t, s, Options{Memo: m}); out.Reused {
			t.Error("reused what has just been made")
		}
	}
	m = settled(t, dir, bound)
	change := f.make
	f.make = func(run int, w *tar.Writer) {
		if err := os.WriteFile(filepath.Join(bound, "new"), nil, 0o644); err != nil {
			t.Error(err)
		}
		if err := os.Remove(filepath.Join(bound, "new")); err != nil {
			t.Error(err)
		}
		change(run, w)
	}
	f.run(t, s, Options{Memo: m})
	f.make = change
	m = settled(t, dir, bound)
	for _, want := range []bool{false, true} {
		if out := f.run(t, s, Options{Memo: m}); out.Reused != want {
			t.Errorf("reused: %v", out.Reused)
		}
	}
}

// TestLooks: the machine is looked at once for all steps that are reused, and anew after each that
// runs.
func TestLooks(t *testing.T) {
	bound := t.TempDir()
	m := settled(t, t.TempDir(), bound)
	f := &fake{temp: t.TempDir(), make: leavings["special"]}
	opts := Options{Memo: m, Looks: &Looks{}}
	one, two := step(), step()
	two.Name = "two"
	for _, s := range []*sandbox.Step{one, two} {
		s.Binds = []sandbox.Bind{{Source: bound, Target: "/in"}}
		if out := f.run(t, s, opts); out.Reused {
			t.Error("reused what never ran")
		}
	}
	opts.Looks = &Looks{}
	for _, s := range []*sandbox.Step{one, two} {
		if out := f.run(t, s, opts); !out.Reused || len(opts.Looks.seen) != 1 {
			t.Errorf("reused: %v, looks: %d", out.Reused, len(opts.Looks.seen))
		}
		if err := os.WriteFile(filepath.Join(bound, "new"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	three := step()
	three.Name, three.Binds = "three", two.Binds
	f.run(t, three, opts) // it sees something else than was seen before it
	if out := f.run(t, two, opts); out.Reused {
		t.Error("reused by a look from before another step ran")
	}
}

// TestStamps: what a step left has the same stamps when it is run and when it is not, so that a layer
// of it is known without reading it, and other content has others.
func TestStamps(t *testing.T) {
	stamps := func(m *memo.Memo, f *fake) map[string]tree.Stamp {
		all := map[string]tree.Stamp{}
		for _, e := range f.run(t, step(), Options{Memo: m}).Changes {
			if e.Type == tree.Regular {
				all[e.Path] = e.Stamp
			}
		}
		return all
	}
	m := opened(t, t.TempDir())
	f := &fake{temp: t.TempDir(), make: leavings["files"]}
	first := stamps(m, f)
	for path, s := range first {
		if s == (tree.Stamp{}) {
			t.Errorf("%q has no stamp", path)
		}
	}
	if len(first) == 0 || !maps.Equal(stamps(m, f), first) || f.runs != 1 {
		t.Errorf("%d files; run %d times", len(first), f.runs)
	}
	other := stamps(opened(t, t.TempDir()), f)
	if f.runs != 2 || other["etc/random"] == first["etc/random"] {
		t.Errorf("run %d times: a file with other content has the same stamp", f.runs)
	}
}
