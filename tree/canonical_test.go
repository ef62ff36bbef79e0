package tree

import (
	"path"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/bmatcuk/doublestar/v4"
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

// FuzzCompare compares Compare with its definition: the lists of components.
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
		t.Run(c.target, func(t *testing.T) {
			placed, err := Place(source, c.target)
			if wantError(t, err, parts(c.err)...) {
				return
			}
			if got := short(t, placed); got != c.want {
				t.Errorf("%q: %s", c.target, got)
			}
			checkTree(t, placed)
		})
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
	const all = "a/; a/b/; a/b/c; a.o; d/; d/e.o; .git/; .git/x"
	for glob, want := range map[string]string{
		"none":    all,
		"**":      "",
		"*":       "",
		"a/**":    "a.o; d/; d/e.o; .git/; .git/x",
		"a/*":     "a/; a.o; d/; d/e.o; .git/; .git/x",
		"*.o":     "a/; a/b/; a/b/c; d/; d/e.o; .git/; .git/x",
		"**/*.o":  "a/; a/b/; a/b/c; d/; .git/; .git/x",
		"./a/b/":  "a/; a.o; d/; d/e.o; .git/; .git/x",
		"{a,d}":   "a.o; .git/; .git/x",
		"/.git":   "a/; a/b/; a/b/c; a.o; d/; d/e.o",
		"/":       all,
		"**/.git": "a/; a/b/; a/b/c; a.o; d/; d/e.o",
		// A slash in braces.
		"{/a,}/b":            "a/; a.o; d/; d/e.o; .git/; .git/x",
		"{/a/b,/d}/*":        "a/; a/b/; a.o; d/; .git/; .git/x",
		"{a/,}b":             "a/; a.o; d/; d/e.o; .git/; .git/x",
		"a{/b,}/c":           "a/; a/b/; a.o; d/; d/e.o; .git/; .git/x",
		"{./a,{/.git,nope}}": "a.o; d/; d/e.o",
		"{,/a,{,/d}}/{b,e}*": "a/; a.o; d/; .git/; .git/x",
		"{*,/a}/c":           "a/; a/b/; a/b/c; a.o; d/; d/e.o; .git/; .git/x",
		"{[/,],/d}":          "a/; a/b/; a/b/c; a.o; .git/; .git/x",
	} {
		t.Run(glob, func(t *testing.T) {
			kept, idle, err := Exclude(source, []string{glob})
			wantError(t, err)
			if (want == all) != slices.Equal(idle, []string{glob}) {
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
		})
	}
}

// TestExcludeIdle: a glob is idle if it matches nothing at all, not even what others exclude.
func TestExcludeIdle(t *testing.T) {
	source := testTree(t, "s", "a/", "a/b/", "a/b/c.map", "d")
	_, idle, err := Exclude(source, []string{"a", "*.map", "**/*.map", "a/b/*", "d/", "e"})
	wantError(t, err)
	if want := []string{"*.map", "e"}; !slices.Equal(idle, want) {
		t.Errorf("idle are %q, want %q", idle, want)
	}
}

// TestGlobLimits: braces stand for few globs.
func TestGlobLimits(t *testing.T) {
	for glob, want := range map[string]string{
		strings.Repeat("{,}", 20) + "{/a,b}":     "stands for more than 1000",
		"{/a" + strings.Repeat(",b", 1000) + "}": "stands for more than 1000",
		strings.Repeat("a", 1<<20):               "is longer than 16384 bytes",
	} {
		t.Run(glob[:min(len(glob), 40)], func(t *testing.T) {
			_, err := parseGlob(glob)
			wantError(t, err, want)
		})
	}
}

// FuzzGlob: a leading slash is optional in a glob, and braces around a whole glob change
// nothing.
func FuzzGlob(f *testing.F) {
	for _, glob := range []string{"a/*", "{/a,}/b", "{a,/{b,c}}/**", "{[,],\\},x}", "/", "./{/}", "{,}{,}x"} {
		f.Add(glob, "a/b")
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		if strings.Count(text, "{")+strings.Count(text, "*") > 6 { // the matcher tries all ways
			return
		}
		if !utf8.ValidString(text) || !utf8.ValidString(name) { // to the matcher all invalid bytes are the same
			return
		}
		if name = path.Clean("/" + name)[1:]; name == "" {
			name = "."
		}
		g, err := parseGlob(text)
		if err != nil {
			return
		}
		got := g.match(name)
		if rooted, err := parseGlob("/" + text); err != nil || rooted.match(name) != got {
			t.Errorf("%q matches %q: %v, and otherwise with a slash before it (%v)", text, name, got, err)
		}
		if plain := fromRoot(text); name != "." && !strings.ContainsAny(plain, "{") && !strings.HasSuffix(plain, "/") && plain != "" {
			if want := doublestar.MatchUnvalidated(plain, name); got != want {
				t.Errorf("%q matches %q: %v, want %v", text, name, got, want)
			}
		}
		if braces, err := parseGlob("{/" + text + "}"); err == nil && !strings.ContainsAny(text, `,\[]`) && braces.match(name) != got {
			t.Errorf("%q matches %q: %v, and otherwise in braces", text, name, got)
		}
	})
}

func TestChown(t *testing.T) {
	e := &Entry{Path: "f", Type: Regular, Mode: 0o4755, UID: 1, GID: 2, Uname: "a", Gname: "b"}
	Chown([]*Entry{e}, 0, 9)
	if e.UID != 0 || e.GID != 9 || e.Uname != "" || e.Gname != "" || e.Mode != 0o4755 {
		t.Errorf("%+v", e)
	}
}
