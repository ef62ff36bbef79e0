package tree

import (
	"strings"
	"testing"
)

func TestThrough(t *testing.T) {
	for _, c := range []struct {
		name        string
		base, added []string
		policy      Conflicts
		want        string
		errs        []string
	}{
		{name: "nothing", base: []string{"a/"}},
		{name: "no links", base: []string{"a/"}, added: []string{"a/x=1", "b/y"}, want: "a/; a/x=1; b/; b/y"},
		{name: "merged usr", base: []string{"bin -> usr/bin", "usr/bin/sh=sh"}, added: []string{"bin/x=1"}, want: "usr/; usr/bin/; usr/bin/x=1"},
		{name: "explicit directory", base: []string{"bin -> usr/bin", "usr/bin/sh=sh"}, added: []string{"bin/"}, want: "usr/; usr/bin/"},
		{name: "both names", base: []string{"bin -> usr/bin", "usr/bin/"}, added: []string{"bin/x=1", "usr/bin/y=2", "bin/d/z", "usr/bin/d/w"}, want: "usr/; usr/bin/; usr/bin/d/; usr/bin/d/w; usr/bin/d/z; usr/bin/x=1; usr/bin/y=2"},
		{name: "both names, same file", base: []string{"bin -> usr/bin", "usr/bin/"}, added: []string{"bin/x=1", "usr/bin/x=1"}, want: "usr/; usr/bin/; usr/bin/x=1"},
		{name: "both names, other files", base: []string{"bin -> usr/bin", "usr/bin/"}, added: []string{"bin/x=1", "usr/bin/x=2"}, errs: []string{`"usr/bin/x": regular file with different contents: from "added:usr/bin/x" and from "added:bin/x"`}},
		{name: "chain, absolute, ..", base: []string{"a -> b", "b -> /c/../d/e", "d -> r/./s", "r/s/e/"}, added: []string{"a/x=1", "a/k/y"}, want: "r/; r/s/; r/s/e/; r/s/e/k/; r/s/e/k/y; r/s/e/x=1"},
		{name: "above the root", base: []string{"d/l -> ../../../../t", "t/"}, added: []string{"d/l/x"}, want: "d/; t/; t/x"},
		{name: "links below links", base: []string{"a -> b", "b/l -> ../c", "c/"}, added: []string{"a/l/x=1", "a/y"}, want: "b/; b/y; c/; c/x=1"},
		{name: "a file replaces a file or link", base: []string{"f=1", "l -> f", "dead -> none"}, added: []string{"f=2", "l=3", "dead=4"}, want: "dead=4; f=2; l=3"},
		{name: "a link replaces a link", base: []string{"l -> d", "d/", "e/"}, added: []string{"l -> e"}, want: "l -> e"},
		{name: "link to a missing place", base: []string{"bin -> usr/bin"}, added: []string{"bin/x"}, errs: []string{`"bin" from "added:bin/x": the base has a symlink to "usr/bin" there, and nothing at "usr/bin"`}},
		{name: "links in a circle", base: []string{"a -> b", "b -> a"}, added: []string{"a/x", "b/y"}, errs: []string{`"a" from`, `"b" from`, "in a circle"}},
		{name: "link to a file", base: []string{"a -> f", "f"}, added: []string{"a/x"}, errs: []string{`is a directory, and the base has a symlink to "f" there`}},
		{name: "directory on a file", base: []string{"f", "g/h"}, added: []string{"f/x", "g/h/"}, errs: []string{`"f" from "added:f/x" is a directory, and the base has a regular file`, `"g/h"`}},
		{name: "file on a directory", base: []string{"d/x", "l -> d"}, added: []string{"d=1", "l=2"}, errs: []string{`"d" from "added:d" is a regular file, and the base has a directory there`, `"l" from "added:l" is a regular file, and the base has a symlink to "d"`}},
		{name: "first", policy: ConflictFirst, base: []string{"f", "d/x", "bin -> d"}, added: []string{"f/y", "f/z/k", "d -> e", "g", "bin/w"}, want: "d/; d/w; g"},
		{name: "first wins", policy: ConflictFirst, base: []string{"f", "d/x"}, added: []string{"f/y", "f/z/k", "d -> e", "g"}, want: "g"},
		{name: "first, missing place", policy: ConflictFirst, base: []string{"bin -> none"}, added: []string{"bin/w"}, errs: []string{`nothing at "none"`}},
		{name: "last wins", policy: ConflictLast, base: []string{"f", "d/x", "bin -> none"}, added: []string{"f/y", "d -> e", "bin/w"}, want: "bin/; bin/w; d -> e; f/; f/y"},
	} {
		t.Run(c.name, func(t *testing.T) {
			base, added := testTree(t, "base", c.base...), testTree(t, "added", c.added...)
			before := dump(t, added)
			got, err := Through(t.Context(), base, added, c.policy)
			if dump(t, added) != before {
				t.Error("the added tree was changed")
			}
			if wantError(t, err, c.errs...) {
				return
			}
			if len(got) > 0 {
				checkTree(t, got)
			}
			if got := short(t, got); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestThroughAttributes(t *testing.T) {
	base := testTree(t, "base", "bin -> usr/bin", "usr/bin/", "etc/", "tmp/")
	for _, e := range base {
		if e.Type == Dir {
			e.Mode, e.UID, e.GID, e.ModTime = 0o1711, 7, 8, 99
			e.Xattrs = map[string]string{"user.a": e.Path}
		}
	}
	added := testTree(t, "added", "bin/x", "etc/y", "new/z", "tmp/")
	for _, e := range added {
		e.Implied = e.Type == Dir && e.Path != "tmp"
	}
	got, err := Through(t.Context(), base, added, ConflictError)
	if err != nil {
		t.Fatal(err)
	}
	wantDump(t, got, `
. 5 1711 7:8 implied
etc 5 1711 7:8 implied
etc/y 0 0644 0:0 ""
new 5 0755 0:0 implied
new/z 0 0644 0:0 ""
tmp 5 0755 0:0
usr 5 1711 7:8 implied
usr/bin 5 1711 7:8 implied
usr/bin/x 0 0644 0:0 ""
`)
	if e := Find(got, "usr/bin"); e.Xattrs["user.a"] != "usr/bin" || e.ModTime != 99 {
		t.Errorf("%+v", e)
	}
}

// FuzzThrough: whatever the base's links, added entries stay inside the tree, at
// paths without any of the base's links.
func FuzzThrough(f *testing.F) {
	f.Add("bin -> usr/bin\nusr/bin/\n", "bin/x\n")
	f.Add("a -> /b\nb -> ../c/.\nc/d -> ../a\n", "a/d/x\nc/d/d/y\n")
	f.Add("a -> a\n", "a/a\n")
	f.Fuzz(func(t *testing.T, base, added string) {
		parse := func(text string) []*Entry {
			var entries []*Entry
			for line := range strings.SplitSeq(text, "\n") {
				name, target, link := strings.Cut(line, " -> ")
				clean, err := archivePath(name)
				if err != nil || clean == "." {
					continue
				}
				switch {
				case link && target != "":
					entries = append(entries, testLink(clean, target))
				case strings.HasSuffix(name, "/"):
					entries = append(entries, testDir(clean))
				default:
					entries = append(entries, testFile(clean, "x"))
				}
			}
			Sort(entries)
			entries, err := complete(entries)
			if err != nil {
				return nil
			}
			return entries
		}
		b := parse(base)
		got, err := Through(t.Context(), b, parse(added), ConflictError)
		if err != nil || len(got) == 0 {
			return
		}
		checkTree(t, got)
		for _, e := range got {
			if under := Find(b, e.Path); under != nil && under.Type == Symlink && e.Type == Dir {
				t.Errorf("the directory %q replaces a symlink", e.Path)
			}
		}
	})
}
