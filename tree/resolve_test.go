package tree

import "testing"

func TestLookup(t *testing.T) {
	link := func(name, target string) *Entry { return &Entry{Path: name, Type: Symlink, Linkname: target} }
	dir := func(name string) *Entry { return &Entry{Path: name, Type: Dir} }
	entries := []*Entry{
		dir("."), link("bin", "usr/bin"), link("circle", "circle"), link("escape", "../../usr"), link("gone", "nowhere"),
		link("sbin", "/bin"), dir("usr"), dir("usr/bin"), {Path: "usr/bin/sh", Type: Regular}, link("usr/bin/tool", "sh"),
	}
	for name, want := range map[string]string{
		".": ".", "usr": "usr", "usr/bin/sh": "usr/bin/sh", "bin/sh": "usr/bin/sh", "sbin/sh": "usr/bin/sh", "escape/bin/sh": "usr/bin/sh",
		"bin": "bin", "bin/tool": "usr/bin/tool", // the last one is not followed
		"bin/gone": "", "gone/x": "", "circle": "circle", "circle/x": "", "usr/bin/sh/x": "", "x/y": "",
	} {
		got := ""
		if e := Lookup(entries, name); e != nil {
			got = e.Path
		}
		if got != want {
			t.Errorf("Lookup(%q) finds %q, want %q", name, got, want)
		}
	}
}
