package tree

import (
	"io"
	"testing"
)

func TestComplete(t *testing.T) {
	for _, c := range []struct {
		entries   []*Entry
		want, err string
	}{
		{nil, "", ""},
		{[]*Entry{NewFile("a/b/f", 0o644, "x"), NewSymlink("a-b", "to"), NewDir("a/b", 0o700)}, "a/; a/b/; a/b/f=x; a-b -> to", ""},
		{[]*Entry{NewDir("a", 0o755), NewDir("a", 0o755)}, "", `"a" is there twice`},
		{[]*Entry{NewSymlink("a", "to"), NewFile("a/b", 0o644, "")}, "", `"a/b" lies below the symlink "a"`},
	} {
		t.Run(c.want+c.err, func(t *testing.T) {
			given := names(t, c.entries)
			got, err := Complete(c.entries)
			if wantError(t, err, parts(c.err)...) {
				return
			}
			if text := short(t, got); text != c.want {
				t.Errorf("got %s, want %s", text, c.want)
			}
			if got[0].Path != "." || !got[0].Implied {
				t.Errorf("it starts with %+v, want an implied root", got[0])
			}
			if names(t, c.entries) != given {
				t.Error("the list that was given is another now")
			}
		})
	}
}

// TestSub: what is at a directory becomes a tree of its own, which Place puts back, and Without
// returns the rest.
func TestSub(t *testing.T) {
	all := testTree(t, "s", "d/", "d/e/", "d/e/f=x", "d-e/", "l -> d")
	for _, c := range []struct{ dir, sub, rest string }{
		{"d", "e/; e/f=x", "d-e/; l -> d"},
		{"d/e", "f=x", "d/; d-e/; l -> d"},
		{"none", "", "d/; d/e/; d/e/f=x; d-e/; l -> d"},
		{".", "d/; d/e/; d/e/f=x; d-e/; l -> d", ""},
	} {
		sub := Sub(all, c.dir)
		if got := short(t, sub); got != c.sub {
			t.Errorf("Sub %s: %s, want %s", c.dir, got, c.sub)
		}
		rest := Without(all, c.dir)
		if got := short(t, rest); got != c.rest {
			t.Errorf("Without %s: %s, want %s", c.dir, got, c.rest)
		}
		back, err := Place(sub, "/"+c.dir)
		if err != nil {
			t.Fatal(err)
		}
		merged, err := Merge(t.Context(), MergeOptions{}, rest, back)
		if err != nil || short(t, merged) != short(t, all) {
			t.Errorf("together again: %s, %v, want %s", short(t, merged), err, short(t, all))
		}
	}
	if got := short(t, Without(all, "d/e", "l")); got != "d/; d-e/" {
		t.Errorf("Without two: %s", got)
	}
}

func TestWhiteouts(t *testing.T) {
	layer := testTree(t, "s", "d/", "d/.wh.f=", "d/g=", ".wh.h=")
	added, whiteouts := Whiteouts(layer)
	if got := names(t, added); got != names(t, []*Entry{layer[0], Find(layer, "d"), Find(layer, "d/g")}) {
		t.Errorf("added are %s", got)
	}
	if len(whiteouts) != 2 {
		t.Errorf("whiteouts are %s", names(t, whiteouts))
	}
}

// TestSetContent: the stamp of the old content does not speak for the new one.
func TestSetContent(t *testing.T) {
	e, other := NewFile("f", 0o644, "old"), NewFile("g", 0o644, "other")
	e.Stamp = Stamp{Device: 1, Inode: 2, Change: 3, ModTime: 4}
	e.SetContent(other.Size, other.Content)
	r, err := e.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if text, err := io.ReadAll(r); err != nil || string(text) != "other" || e.Size != other.Size || e.Stamp != (Stamp{}) {
		t.Errorf("%q, %v, size %d, stamp %v", text, err, e.Size, e.Stamp)
	}
}
