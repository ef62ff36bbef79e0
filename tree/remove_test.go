package tree

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestRemove(t *testing.T) {
	entries := testTree(t, "t", "a/b/c", "a/bc", "a/d", "e -> a", "x/b/y")
	for _, c := range []struct {
		globs, kept, gone string
		matched           []bool
		wrong             string
	}{
		{globs: "a/b", kept: "a/; a/bc; a/d; e -> a; x/; x/b/; x/b/y", gone: "a/b", matched: []bool{true}},
		{globs: "/a/b/c a/b none", kept: "a/; a/bc; a/d; e -> a; x/; x/b/; x/b/y", gone: "a/b", matched: []bool{true, true, false}},
		{globs: "**/b", kept: "a/; a/bc; a/d; e -> a; x/", gone: "a/b x/b", matched: []bool{true}},
		{globs: "/**", gone: "a e x", matched: []bool{true}},
		{globs: "/", kept: "a/; a/b/; a/b/c; a/bc; a/d; e -> a; x/; x/b/; x/b/y", matched: []bool{false}},
		{globs: "a/[", wrong: `remove[0]: glob "a/[" is malformed`},
	} {
		kept, gone, matched, err := Remove(entries, strings.Fields(c.globs))
		if c.wrong != "" {
			if err == nil || !strings.HasPrefix(err.Error(), c.wrong) {
				t.Errorf("%s: the error is %v, want %s", c.globs, err, c.wrong)
			}
			continue
		}
		if err != nil || short(t, kept) != c.kept || strings.Join(gone, " ") != c.gone || !slices.Equal(matched, c.matched) {
			t.Errorf("%s: it keeps %s, removes %q, matched %v, %v", c.globs, short(t, kept), gone, matched, err)
		}
	}
}

func TestThroughLinks(t *testing.T) {
	entries := testTree(t, "t", "bin -> usr/bin", "usr/bin/sh", "lib -> /usr/lib", "usr/lib/x", "dead -> none", "r -> .", "odd -> [a]*", "[a]*/x", "f")
	for glob, want := range map[string]string{
		"/bin/sh": "usr/bin/sh", "bin/*": "usr/bin/*", "/bin": "/bin", "bin/": "bin/", "lib/**": "usr/lib/**", "/usr/bin/sh": "/usr/bin/sh",
		"**/bin/sh": "**/bin/sh", "{bin,lib}/x": "{bin,lib}/x", "dead/x": "dead/x", "r/bin/x": "usr/bin/x", "none/x": "none/x", "f/x": "f/x",
		"odd/x": `\[a\]\*/x`, "/": "/", "**": "**", "r/x": "r/x",
	} {
		if got := ThroughLinks(entries, glob); got != want {
			t.Errorf("%s becomes %s, want %s", glob, got, want)
		}
	}
}

func TestReach(t *testing.T) {
	entries := testTree(t, "t", "bin -> usr/bin", "usr/bin/sh -> busybox", "usr/bin/busybox", "l -> l")
	for _, c := range []struct {
		name, path string
		there      bool
	}{
		{"/bin/sh", "usr/bin/busybox", true}, {"bin/none/x", "usr/bin/none/x", false}, {"/", ".", true}, {"../bin", "usr/bin", true},
	} {
		if path, e, err := Reach(entries, c.name); path != c.path || (e != nil) != c.there || err != nil {
			t.Errorf("%s leads to %s, %v, %v", c.name, path, e, err)
		}
	}
	for _, name := range []string{"bin/sh/x", "l"} {
		if _, _, err := Reach(entries, name); err == nil {
			t.Errorf("%s leads somewhere", name)
		}
	}
}

// TestFile: names of one file are known in layers that are read, whether or not they
// are to stay one.
func TestFile(t *testing.T) {
	for _, hardLinks := range []bool{false, true} {
		layers := memLayers(makeTar(t, reg("d/a", "1"), reg("b", "1"), hard("c", "d/a")), makeTar(t, hard("e", "b")))
		o, err := OpenOverlay(t.Context(), layers, OverlayOptions{HardLinks: hardLinks})
		if err != nil {
			t.Fatal(err)
		}
		defer o.Close()
		files := map[string]any{}
		for _, e := range o.Entries {
			files[e.Path] = e.File()
		}
		if files["d/a"] == nil || files["d/a"] != files["c"] || files["b"] == nil || files["b"] != files["e"] || files["b"] == files["c"] || files["d"] != nil {
			t.Errorf("the files are %v", files)
		}
		var copies []*Entry
		for _, e := range o.Entries {
			copies = append(copies, new(*e))
		}
		LinkFiles(copies)
		if a, c := Find(copies, "d/a"), Find(copies, "c"); a.Inode == nil || a.Inode != c.Inode || a.Inode == Find(copies, "b").Inode {
			t.Errorf("the names are not those of one file: %v, %v", a, c)
		}
		if a := Find(o.Entries, "d/a"); hardLinks == (a.Inode == nil) || a.Inode == Find(copies, "d/a").Inode && hardLinks {
			t.Error("the originals have changed")
		}
	}
}

// TestSpoolFiles: only the layers of the files that are wanted are read, and a second
// time only for others.
func TestSpoolFiles(t *testing.T) {
	layers := memLayers(makeTar(t, reg("a", "1"), reg("b", "22")), makeTar(t, reg("c", "333"), reg("d", "4444"), reg("e", "")))
	o, err := OpenOverlay(t.Context(), layers, OverlayOptions{TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	wantOpens := func(what, want string) {
		t.Helper()
		var got []string
		for _, l := range layers {
			got = append(got, strconv.Itoa(int(l.(*memLayer).opens.Swap(0))))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: layers were opened %q times, want %q", what, got, want)
		}
	}
	wantOpens("headers", "1 1")
	elsewhere := testTree(t, "t", "d=5")
	for i, c := range []struct {
		wanted []*Entry
		opens  string
	}{{nil, "0 0"}, {elsewhere, "0 0"}, {[]*Entry{new(*Find(o.Entries, "d")), Find(o.Entries, "e")}, "0 1"}, {[]*Entry{Find(o.Entries, "d")}, "0 0"}, {o.Entries, "1 1"}} {
		if err := o.SpoolFiles(t.Context(), c.wanted); err != nil {
			t.Fatal(err)
		}
		wantOpens("call "+strconv.Itoa(i), c.opens)
	}
	if err := o.Spool(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := short(t, o.Entries); got != "a=1; b=22; c=333; d=4444; e" {
		t.Errorf("the files are %s", got)
	}
	wantOpens("at last", "0 0")
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	wantClosed(t, layers)
}
