package tree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

func TestMerge(t *testing.T) {
	for _, c := range []struct {
		name    string
		sources [][]string
		first   string   // the result with ConflictFirst
		last    string   // the result with ConflictLast; "" means the same
		errs    []string // the errors with ConflictError
	}{
		{name: "nothing", sources: nil},
		{name: "disjoint", sources: [][]string{{"a/x"}, {"a/y", "b"}, {"a.z"}}, first: "a/; a/x; a/y; a.z; b"},
		{name: "identical", sources: [][]string{{"f=1", "l -> f", "d/"}, {"f=1", "l -> f", "d/"}}, first: "d/; f=1; l -> f"},
		{name: "content", sources: [][]string{{"a=1"}, {"a=2"}}, first: "a=1", last: "a=2",
			errs: []string{`"a": regular file with different contents: from "s0:a" and from "s1:a"`}},
		{name: "size", sources: [][]string{{"a=1"}, {"a=22"}}, first: "a=1", last: "a=22", errs: []string{`"a": regular file of 1 and 2 bytes`}},
		{name: "target", sources: [][]string{{"a -> x"}, {"a -> y"}}, first: "a -> x", last: "a -> y", errs: []string{`symlinks to "x" and "y"`}},
		{name: "file and link", sources: [][]string{{"a"}, {"a -> y"}}, first: "a", last: "a -> y", errs: []string{`"a": a regular file and a symlink`}},
		{name: "directory, then file", sources: [][]string{{"d/x", "d/e/y", "d-"}, {"d=f"}}, first: "d/; d/e/; d/e/y; d/x; d-", last: "d=f; d-",
			errs: []string{`"d": a directory and a regular file`}},
		{name: "file, then directory", sources: [][]string{{"d=f", "d-"}, {"d/x", "d/e/y"}}, first: "d=f; d-", last: "d/; d/e/; d/e/y; d/x; d-",
			errs: []string{`"d": a regular file and a directory`}},
		{name: "what was replaced stays away", sources: [][]string{{"d/x", "d/e/y"}, {"d=f"}, {"d/z", "d/e/w"}}, first: "d/; d/e/; d/e/w; d/e/y; d/x; d/z", last: "d/; d/e/; d/e/w; d/z",
			errs: []string{`"d": a directory and a regular file`}},
		{name: "replaced further in", sources: [][]string{{"a/d/x", "a/k"}, {"a/d=f"}, {"a=f"}, {"a/d/z"}}, first: "a/; a/d/; a/d/x; a/d/z; a/k", last: "a/; a/d/; a/d/z",
			errs: []string{`"a/d": a directory and a regular file`, `"a": a directory and a regular file`}},
		{name: "conflicts below what was replaced", sources: [][]string{{"d/x=1"}, {"d=f"}, {"d/x=2"}}, first: "d/; d/x=1", last: "d/; d/x=2",
			errs: []string{`"d": a directory`, `"d/x": regular file with`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var sources [][]*Entry
			for i, lines := range c.sources {
				sources = append(sources, testTree(t, fmt.Sprintf("s%d", i), lines...))
			}
			last := c.last
			if last == "" {
				last = c.first
			}
			ctx := context.Background()
			for policy, want := range map[Conflicts]string{ConflictFirst: c.first, ConflictLast: last} {
				for _, keep := range []bool{false, true} {
					got, err := Merge(ctx, MergeOptions{Conflicts: policy, KeepDirlinks: keep}, sources...)
					wantError(t, err)
					checkTree(t, got)
					if s := short(t, got); s != want {
						t.Errorf("policy %d, KeepDirlinks %v: got %s, want %s", policy, keep, s, want)
					}
				}
			}
			got, err := Merge(ctx, MergeOptions{}, sources...)
			if !wantError(t, err, c.errs...) && short(t, got) != c.first {
				t.Errorf("got %s, want %s", short(t, got), c.first)
			}
		})
	}
}

func TestMergeAttributes(t *testing.T) {
	ctx := context.Background()
	implied := testTree(t, "i", "d/x")
	explicit := []*Entry{{Path: "d", Type: Dir, Mode: 0o700, UID: 5, Source: "explicit"}}
	for _, order := range [][][]*Entry{{implied, explicit}, {explicit, implied}} {
		for _, policy := range []Conflicts{ConflictError, ConflictFirst, ConflictLast} {
			got, err := Merge(ctx, MergeOptions{Conflicts: policy}, order...)
			wantError(t, err)
			wantDump(t, got, ". 5 0755 0:0 implied\nd 5 0700 5:0\nd/x 0 0644 0:0 \"\"\n")
		}
	}
	base := Entry{Path: "d", Type: Dir, Mode: 0o755, Source: "base"}
	for want, change := range map[string]func(*Entry){
		"directory with modes 0755 and 0700":           func(e *Entry) { e.Mode = 0o700 },
		"directory with owners 0:0 and 0:1":            func(e *Entry) { e.GID = 1 },
		`directory with owners 0:0 and 0:0 ("u":"")`:   func(e *Entry) { e.Uname = "u" },
		"directory with different extended attributes": func(e *Entry) { e.Xattrs = map[string]string{"user.a": ""} },
		"a directory and a FIFO":                       func(e *Entry) { e.Type = FIFO },
		"":                                             func(e *Entry) { e.ModTime, e.Stamp.Change = 7, 8 },
	} {
		t.Run(want, func(t *testing.T) {
			other := base
			change(&other)
			_, err := Merge(ctx, MergeOptions{}, []*Entry{&base}, []*Entry{&other})
			wantError(t, err, parts(want)...)
		})
	}
}

func TestMergeReportsAll(t *testing.T) {
	var a, b []*Entry
	for i := range 27 {
		a = append(a, testFile(fmt.Sprintf("f%02d", i), "a"))
		b = append(b, testFile(fmt.Sprintf("f%02d", i), "b"))
	}
	_, err := Merge(context.Background(), MergeOptions{}, a, b)
	wantError(t, err, "and 7 more", `"f00"`, `"f19"`, "and 7 more")
	if strings.Contains(err.Error(), `"f20"`) {
		t.Error("more than 20 conflicts are listed")
	}
}

func TestMergeOpensOnlyWhatItMust(t *testing.T) {
	failing := func(name string) *Entry {
		e := testFile(name, "x")
		e.Content = OpenFunc(func() (io.ReadCloser, error) { return nil, errors.New("cannot open") })
		return e
	}
	ctx := context.Background()
	a, b := []*Entry{failing("f")}, []*Entry{failing("f")}
	for _, policy := range []Conflicts{ConflictFirst, ConflictLast} {
		if _, err := Merge(ctx, MergeOptions{Conflicts: policy}, a, b); err != nil {
			t.Error(err)
		}
	}
	_, err := Merge(ctx, MergeOptions{}, a, b)
	wantError(t, err, `compare "f" from "test:f" and from "test:f": cannot open`)
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := Merge(ctx, MergeOptions{}, a, b); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestMergeBadSources(t *testing.T) {
	_, err := Merge(context.Background(), MergeOptions{},
		[]*Entry{testFile("a", ""), testFile("a", "")},
		[]*Entry{testLink("l", "/etc"), testFile("l/x", "")})
	wantError(t, err, `source 1: "a" is there twice`, `source 2: entry "l/x" lies below the symlink "l"`)
	got, err := Merge(context.Background(), MergeOptions{}, []*Entry{testFile("b", ""), testFile("a/c", "")})
	wantError(t, err)
	if s := short(t, got); s != "a/; a/c; b" {
		t.Errorf("unsorted source: %s", s)
	}
}

func TestMergeKeepDirlinks(t *testing.T) {
	for _, c := range []struct {
		name    string
		sources [][]string
		want    string
		errs    []string
	}{
		{name: "through a link", sources: [][]string{{"usr/bin/a", "bin -> usr/bin"}, {"bin/b", "bin/sub/c"}}, want: "bin -> usr/bin; usr/; usr/bin/; usr/bin/a; usr/bin/b; usr/bin/sub/; usr/bin/sub/c"},
		{name: "absolute, inside the tree", sources: [][]string{{"usr/bin/", "bin -> /usr/bin"}, {"bin/b"}}, want: "bin -> /usr/bin; usr/; usr/bin/; usr/bin/b"},
		{name: "chain and ..", sources: [][]string{{"usr/bin/", "bin -> b2", "b2 -> ../../usr/./lib/../bin/", "usr/lib/"}, {"bin/b"}}, want: "b2 -> ../../usr/./lib/../bin/; bin -> b2; usr/; usr/bin/; usr/bin/b; usr/lib/"},
		{name: "nested", sources: [][]string{{"real/", "other/", "l -> real", "real/m -> ../other"}, {"l/m/x", "l/y", "z"}}, want: "l -> real; other/; other/x; real/; real/m -> ../other; real/y; z"},
		{name: "three sources", sources: [][]string{{"usr/lib/"}, {"lib -> usr/lib"}, {"lib/x"}}, want: "lib -> usr/lib; usr/; usr/lib/; usr/lib/x"},
		{name: "to the root", sources: [][]string{{"l -> .", "x=1"}, {"l/y"}}, want: "l -> .; x=1; y"},
		{name: "both ways at once", sources: [][]string{{"usr/bin/", "bin -> usr/bin"}, {"bin/x=1", "usr/bin/x=2"}},
			errs: []string{`"usr/bin/x": regular file with different contents: from "s1:usr/bin/x" and from "s1:bin/x"`}},
		{name: "dangling", sources: [][]string{{"l -> none"}, {"l/x"}}, errs: []string{`"l": a symlink and a directory: from "s0:l" and from "s1:l/x"`}},
		{name: "to a file", sources: [][]string{{"f", "l -> f"}, {"l/x"}}, errs: []string{`"l": a symlink and a directory`}},
		{name: "cycle", sources: [][]string{{"a -> b", "b -> a"}, {"a/x"}}, errs: []string{`"a": a symlink and a directory`}},
		{name: "link over directory", sources: [][]string{{"d/x"}, {"d -> e", "e/"}}, errs: []string{`"d": a directory and a symlink`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var sources [][]*Entry
			for i, lines := range c.sources {
				sources = append(sources, testTree(t, fmt.Sprintf("s%d", i), lines...))
			}
			got, err := Merge(context.Background(), MergeOptions{KeepDirlinks: true}, sources...)
			if wantError(t, err, c.errs...) {
				return
			}
			checkTree(t, got)
			if s := short(t, got); s != c.want {
				t.Errorf("got %s, want %s", s, c.want)
			}
		})
	}
}

// FuzzMerge compares Merge, with any policy, with applying one entry after the other.
func FuzzMerge(f *testing.F) {
	f.Add([]byte("\x01\x02\x03\x04\x11\x22\x33\x44"), false)
	f.Add([]byte("\x00\x41\x82\xc3\x04\x45\x86\xc7"), true)
	names := []string{"a", "a/b", "a/b/c", "a/d", "b", "b/c", "a-", "a/b-"}
	f.Fuzz(func(t *testing.T, data []byte, last bool) {
		var sources [][]*Entry
		for len(data) > 0 && len(sources) < 6 {
			var s []*Entry
			for i := range min(4, len(data)) {
				name := names[data[i]%8]
				e := testFile(name, "")
				if data[i]&64 != 0 {
					e = testDir(name)
				}
				e.UID = uint32(len(sources))
				s = append(s, e)
			}
			data = data[min(4, len(data)):]
			Sort(s)
			s = slices.CompactFunc(s, func(a, b *Entry) bool { return a.Path == b.Path })
			if s, err := complete(s); err == nil {
				sources = append(sources, s)
			}
		}
		policy := ConflictFirst
		if last {
			policy = ConflictLast
		}
		got, err := Merge(context.Background(), MergeOptions{Conflicts: policy}, sources...)
		if err != nil {
			t.Fatal(err)
		}
		checkTree(t, got)
		if g, w := dump(t, got), dump(t, mergeSlowly(sources, last)); g != w {
			t.Errorf("got:\n%swant:\n%s", g, w)
		}
	})
}

// mergeSlowly merges as the documentation of Merge says, entry by entry.
func mergeSlowly(sources [][]*Entry, last bool) []*Entry {
	at := map[string]*Entry{}
	for _, s := range sources {
		for _, e := range s {
			old := at[e.Path]
			closed := false
			for _, dir := range append(between(".", e.Path), ".") {
				closed = closed || dir != e.Path && at[dir] != nil && at[dir].Type != Dir
			}
			switch {
			case closed:
			case old == nil:
				at[e.Path] = e
			case old.Type == Dir && e.Type == Dir && (old.Implied || e.Implied):
				if old.Implied && !e.Implied {
					at[e.Path] = e
				}
			case last:
				if e.Type != Dir {
					for name := range at {
						if below(name, e.Path) {
							delete(at, name)
						}
					}
				}
				at[e.Path] = e
			}
		}
	}
	var all []*Entry
	for _, e := range at {
		all = append(all, e)
	}
	Sort(all)
	return all
}
