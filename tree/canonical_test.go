package tree

import (
	"slices"
	"strings"
	"testing"
)

func TestCompare(t *testing.T) {
	want := []string{".", "\x01", "a", "a/b", "a/b/c", "a/b-", "a\x01", "a-", "a-b", "a.", "a0", "ab", "b", "é", "\xff"}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, Compare)
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for i, a := range want {
		for j, b := range want {
			if c := Compare(a, b); (c < 0) != (i < j) || (c == 0) != (i == j) {
				t.Errorf("Compare(%q, %q) = %d", a, b, c)
			}
		}
	}
}

// FuzzCompare holds Compare against its definition: the lists of components.
func FuzzCompare(f *testing.F) {
	f.Add("a/b", "a-b")
	f.Add(".", "a")
	f.Fuzz(func(t *testing.T, a, b string) {
		a, b = cleanPath(a), cleanPath(b)
		split := func(s string) []string {
			if s == "." {
				return nil
			}
			return strings.Split(s, "/")
		}
		if got, want := Compare(a, b), slices.Compare(split(a), split(b)); (got < 0) != (want < 0) || (got > 0) != (want > 0) {
			t.Errorf("Compare(%q, %q) = %d, want %d", a, b, got, want)
		}
	})
}

func TestPlace(t *testing.T) {
	source := testTree(t, "s", "d/", "d/f=x", "l -> d")
	for _, c := range []struct{ target, want, err string }{
		{"/", "d/; d/f=x; l -> d", ""},
		{"./", "d/; d/f=x; l -> d", ""},
		{"/opt//app/", "opt/; opt/app/; opt/app/d/; opt/app/d/f=x; opt/app/l -> d", ""},
		{"../x", "", `"../x" holds ".."`},
		{"/a/../../x", "", `holds ".."`},
		{"", "", "target is empty"},
		{"a\x00b", "", "NUL"},
	} {
		placed, err := Place(source, c.target)
		if wantError(t, err, parts(c.err)...) {
			continue
		}
		if got := short(t, placed); got != c.want {
			t.Errorf("%q: %s", c.target, got)
		}
		checkTree(t, placed)
	}
	if source[1].Path != "d" {
		t.Error("Place changed its argument")
	}
	file := []*Entry{testFile(".", "x")}
	placed, err := Place(file, "usr/bin/tool")
	wantError(t, err)
	wantDump(t, placed, `
. 5 0755 0:0 implied
usr 5 0755 0:0 implied
usr/bin 5 0755 0:0 implied
usr/bin/tool 0 0644 0:0 "x"
`)
	_, err = Place(file, "/")
	wantError(t, err, "cannot become the root directory")
}

func parts(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

func TestCopyApply(t *testing.T) {
	source := testTree(t, "s", "keep/", "keep/f=x", "keep/f.o=x", "gone/", "gone/f=x", "l -> keep")
	mode, uid := uint32(0o700), uint32(7)
	got, err := Copy{Target: "opt/app", Mode: &mode, UID: &uid, Exclude: []string{"/gone", "**/*.o"}}.Apply(source)
	wantError(t, err)
	wantDump(t, got, `
. 5 0755 0:0 implied
opt 5 0755 0:0 implied
opt/app 5 0700 7:0
opt/app/keep 5 0755 7:0
opt/app/keep/f 0 0644 7:0 "x"
opt/app/l 2 0777 7:0 -> keep
`)
	if source[0].Mode != 0o755 || source[1].UID != 0 {
		t.Error("Apply changed its argument")
	}
	bad := uint32(0o10000)
	_, err = Copy{Target: "x", Mode: &bad}.Apply(source)
	wantError(t, err, "mode 010000 is not")
	bad = MaxID + 1
	_, err = Copy{Target: "x", GID: &bad}.Apply(source)
	wantError(t, err, "id 4294967295 is above 4294967294")
	_, err = Copy{Target: "x", Exclude: []string{"[a", ""}}.Apply(source)
	wantError(t, err, `exclude[0]: glob "[a" is malformed`, "exclude[1]: glob is empty")
	_, err = Copy{Target: "x", Mode: &mode}.Apply([]*Entry{testLink(".", "y")})
	wantError(t, err, "a symlink has no mode")
}

func TestExclude(t *testing.T) {
	source := testTree(t, "s", "a/", "a/b/", "a/b/c", "a.o", "d/e.o", ".git/x")
	for glob, want := range map[string]string{
		"none":    "a/; a/b/; a/b/c; a.o; d/; d/e.o; .git/; .git/x",
		"**":      "",
		"*":       "",
		"a/**":    "a.o; d/; d/e.o; .git/; .git/x",
		"a/*":     "a/; a.o; d/; d/e.o; .git/; .git/x",
		"*.o":     "a/; a/b/; a/b/c; d/; d/e.o; .git/; .git/x",
		"**/*.o":  "a/; a/b/; a/b/c; d/; .git/; .git/x",
		"./a/b/":  "a/; a.o; d/; d/e.o; .git/; .git/x",
		"{a,d}":   "a.o; .git/; .git/x",
		"/.git":   "a/; a/b/; a/b/c; a.o; d/; d/e.o",
		"/":       "a/; a/b/; a/b/c; a.o; d/; d/e.o; .git/; .git/x",
		"**/.git": "a/; a/b/; a/b/c; a.o; d/; d/e.o",
	} {
		kept, idle, err := Exclude(source, []string{glob})
		wantError(t, err)
		if (glob == "none" || glob == "/") != slices.Equal(idle, []string{glob}) {
			t.Errorf("%q: idle are %q", glob, idle)
		}
		sorted := strings.Split(want, "; ")
		slices.SortFunc(sorted, func(a, b string) int { return Compare(strings.TrimSuffix(a, "/"), strings.TrimSuffix(b, "/")) })
		if got := short(t, kept); got != strings.Join(sorted, "; ") {
			t.Errorf("%q leaves %s", glob, got)
		}
		if len(kept) == 0 || kept[0].Path != "." {
			t.Errorf("%q excludes the root", glob)
		}
	}
}

// TestExcludeIdle: a glob is idle if it matches nothing at all, what others exclude
// included.
func TestExcludeIdle(t *testing.T) {
	source := testTree(t, "s", "a/", "a/b/", "a/b/c.map", "d")
	_, idle, err := Exclude(source, []string{"a", "*.map", "**/*.map", "a/b/*", "d/", "e"})
	wantError(t, err)
	if want := []string{"*.map", "e"}; !slices.Equal(idle, want) {
		t.Errorf("idle are %q, want %q", idle, want)
	}
}

func TestChown(t *testing.T) {
	e := &Entry{Path: "f", Type: Regular, Mode: 0o4755, UID: 1, GID: 2, Uname: "a", Gname: "b"}
	Chown([]*Entry{e}, 0, 9)
	if e.UID != 0 || e.GID != 9 || e.Uname != "" || e.Gname != "" || e.Mode != 0o4755 {
		t.Errorf("%+v", e)
	}
}
