package tree

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/testtools"
)

// linkShapes are sources for rsync -k.
var linkShapes = map[string][]string{
	"relative":          {"d/x=1", "l -> d"},
	"with slash":        {"d/x=1", "l -> d/"},
	"chain":             {"d/x=1", "l -> m", "m -> n", "n -> ./d/."},
	"up and down":       {"a/b/x=1", "c/l -> ../a/./b", "c/m -> ../../../nowhere"},
	"link to file":      {"f=1", "d/l -> ../f", "m -> d"},
	"dangling":          {"l -> none", "m -> l", "d/n -> ../../outside-and-missing"},
	"links in target":   {"d/l -> e", "d/e/x=1", "top -> d"},
	"link through link": {"d/e/x=1", "l -> d", "m -> l/e"},
	"cycle of links":    {"a -> b", "b -> a", "self -> self"},
	"through a file":    {"f=1", "d/", "l -> f/../d", "m -> f/"},
	"dot dot of target": {"a/b/c/", "a/x=1", "l -> a/b/c", "m -> l/../..", "z -> a/b"},
}

func TestCopyDirlinksLikeRsync(t *testing.T) {
	rsync := testtools.Need(t, "rsync")
	for name, lines := range linkShapes {
		t.Run(name, func(t *testing.T) {
			src, dst := filepath.Join(t.TempDir(), "src"), filepath.Join(t.TempDir(), "dst")
			writeTree(t, src, lines...)
			if out, err := exec.Command(rsync, "-ak", src+"/", dst+"/").CombinedOutput(); err != nil {
				t.Fatalf("rsync: %v: %s", err, out)
			}
			got, err := Collect(CopyDirlinks(context.Background(), src, DirlinkOptions{}))
			if err != nil {
				t.Fatal(err)
			}
			checkTree(t, got)
			want, err := Collect(FromDir(dst, DirOptions{}))
			if err != nil {
				t.Fatal(err)
			}
			if g, w := dump(t, got), dump(t, want); g != w {
				t.Errorf("got:\n%srsync:\n%s", g, w)
			}
		})
	}
}

// TestKeepDirlinksLikeRsync copies sources one after the other. ConflictLast replaces silently
// where rsync does.
func TestKeepDirlinksLikeRsync(t *testing.T) {
	rsync := testtools.Need(t, "rsync")
	for name, sources := range map[string][][]string{
		"plain":            {{"usr/bin/a=1", "bin -> usr/bin"}, {"bin/b=2", "bin/sub/c=3"}},
		"chain":            {{"usr/bin/", "bin -> b2", "b2 -> usr/lib/../bin", "usr/lib/"}, {"bin/b=2"}},
		"nested":           {{"real/", "other/", "l -> real", "real/m -> ../other"}, {"l/m/x=1", "l/y=2"}},
		"file replaced":    {{"usr/bin/a=1", "bin -> usr/bin"}, {"bin/a=22"}},
		"dangling":         {{"l -> none"}, {"l/x=1"}},
		"to a file":        {{"f=1", "l -> f"}, {"l/x=1"}},
		"file over link":   {{"d/", "l -> d"}, {"l=1"}},
		"link over link":   {{"d/", "e/", "l -> d"}, {"l -> e"}},
		"link over file":   {{"l=1"}, {"l -> e"}},
		"dir over file":    {{"l=1"}, {"l/x=1"}},
		"same link twice":  {{"d/x=1", "l -> d"}, {"d/y=1", "l -> d"}},
		"through the root": {{"l -> .", "x=1"}, {"l/y=2"}},
	} {
		t.Run(name, func(t *testing.T) {
			top := t.TempDir()
			dst := filepath.Join(top, "dst")
			var trees [][]*Entry
			for i, lines := range sources {
				src := filepath.Join(top, fmt.Sprint(i))
				writeTree(t, src, lines...)
				if out, err := exec.Command(rsync, "-aIK", src+"/", dst+"/").CombinedOutput(); err != nil {
					t.Fatalf("rsync: %v: %s", err, out)
				}
				tree, err := Collect(FromDir(src, DirOptions{}))
				if err != nil {
					t.Fatal(err)
				}
				trees = append(trees, tree)
			}
			got, err := Merge(context.Background(), MergeOptions{Conflicts: ConflictLast, KeepDirlinks: true}, trees...)
			if err != nil {
				t.Fatal(err)
			}
			checkTree(t, got)
			want, err := Collect(FromDir(dst, DirOptions{}))
			if err != nil {
				t.Fatal(err)
			}
			if g, w := dump(t, got), dump(t, want); g != w {
				t.Errorf("got:\n%srsync:\n%s", g, w)
			}
		})
	}
}

// TestLinkOverDirectory shows the one case where rsync gives up: it does not
// replace a directory that has something in it.
func TestLinkOverDirectory(t *testing.T) {
	top := t.TempDir()
	writeTree(t, filepath.Join(top, "a"), "d/x=1")
	writeTree(t, filepath.Join(top, "b"), "d -> e", "e/")
	trees := [][]*Entry{}
	for _, name := range []string{"a", "b"} {
		tree, err := Collect(FromDir(filepath.Join(top, name), DirOptions{}))
		if err != nil {
			t.Fatal(err)
		}
		trees = append(trees, tree)
	}
	got, err := Merge(context.Background(), MergeOptions{Conflicts: ConflictLast, KeepDirlinks: true}, trees...)
	wantError(t, err)
	if s := short(t, got); s != "d -> e; e/" {
		t.Errorf("last: %s", s)
	}
	rsync := testtools.Need(t, "rsync")
	dst := filepath.Join(top, "dst")
	if out, err := exec.Command(rsync, "-a", filepath.Join(top, "a")+"/", dst+"/").CombinedOutput(); err != nil {
		t.Fatalf("rsync: %v: %s", err, out)
	}
	out, err := exec.Command(rsync, "-aK", filepath.Join(top, "b")+"/", dst+"/").CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("cannot delete non-empty directory")) {
		t.Errorf("rsync: %v: %s", err, out)
	}
}

func TestCopyDirlinksLoops(t *testing.T) {
	for name, lines := range map[string][]string{
		"itself":          {"d/l -> ."},
		"parent":          {"d/e/l -> ../../d"},
		"root":            {"d/l -> .."},
		"two directories": {"x/l -> ../y", "y/m -> ../x"},
		"into a child":    {"a/b/l -> ../../a/b", "z -> a/b"},
	} {
		src := t.TempDir()
		writeTree(t, src, lines...)
		_, err := Collect(CopyDirlinks(context.Background(), src, DirlinkOptions{}))
		if err == nil || !strings.Contains(err.Error(), "would never end") || !strings.Contains(err.Error(), fmt.Sprintf("%q", lines[0][:strings.Index(lines[0], " ")])[1:]) && name != "two directories" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCopyDirlinksConfined(t *testing.T) {
	top := t.TempDir()
	writeTree(t, filepath.Join(top, "secret"), "key=1")
	src := filepath.Join(top, "src")
	writeTree(t, src, "up -> ../secret", "abs -> "+filepath.Join(top, "secret"), "back -> ../src/d", "d/x=1", "etc -> /etc", "deep/l -> ../../secret/../src/d")
	got, err := Collect(CopyDirlinks(context.Background(), src, DirlinkOptions{StoreDir: "/nix/store", Root: top}))
	wantError(t, err)
	want := "abs -> " + filepath.Join(top, "secret") + "; back -> ../src/d; d/; d/x=1; deep/; deep/l -> ../../secret/../src/d; etc -> /etc; up -> ../secret"
	if s := short(t, got); s != want {
		t.Errorf("got %s, want %s", s, want)
	}
}

func TestCopyDirlinksStore(t *testing.T) {
	root := t.TempDir()
	store := filepath.Join(root, "nix/store")
	writeTree(t, filepath.Join(store, "lib"), "lib/so=1", "self -> /nix/store/lib/lib", "host -> /etc")
	writeTree(t, filepath.Join(store, "app"), "libs -> /nix/store/lib/lib", "sibling -> ../lib", "odd -> /nix/../nix/store/./app/bin", "bin/x=1",
		"alias -> /nix/store/alias/lib", "none -> /nix/store/none/lib", "store -> /nix/store", "above -> ../../../etc")
	writeTree(t, store, "alias -> lib")
	outside := filepath.Join(root, "outside")
	writeTree(t, outside, "l -> /nix/store/lib/lib", "r -> ../nix/store/lib")
	opts := DirlinkOptions{Root: root, StoreDir: "/nix/store"}

	got, err := Collect(CopyDirlinks(context.Background(), outside, opts))
	wantError(t, err)
	if s := short(t, got); s != "l/; l/so=1; r -> ../nix/store/lib" {
		t.Errorf("outside: %s", s)
	}
	got, err = Collect(CopyDirlinks(context.Background(), filepath.Join(store, "app"), opts))
	wantError(t, err)
	checkTree(t, got)
	want := "above -> ../../../etc; alias/; alias/so=1; bin/; bin/x=1; libs/; libs/so=1; none -> /nix/store/none/lib; odd/; odd/x=1; " +
		"sibling/; sibling/host -> /etc; sibling/lib/; sibling/lib/so=1; sibling/self/; sibling/self/so=1; store -> /nix/store"
	if s := short(t, got); s != want {
		t.Errorf("got  %s\nwant %s", s, want)
	}
	got, err = Collect(CopyDirlinks(context.Background(), filepath.Join(store, "app"), DirlinkOptions{}))
	wantError(t, err)
	if s := short(t, got); !strings.Contains(s, "libs -> /nix") {
		t.Errorf("without a store: %s", s)
	}
}

func TestCopyDirlinksLimits(t *testing.T) {
	src := t.TempDir()
	for i := range 30 {
		writeTree(t, src, fmt.Sprintf("d%d/l -> ../d%d", i, i+1), fmt.Sprintf("d%d/m -> ../d%d", i, i+1))
	}
	writeTree(t, src, "d30/")
	_, err := Collect(CopyDirlinks(context.Background(), src, DirlinkOptions{MaxEntries: 10_000}))
	wantError(t, err, "more than 10000 entries")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = Collect(CopyDirlinks(ctx, src, DirlinkOptions{}))
	wantError(t, err, "context canceled")

	file := filepath.Join(src, "file")
	if err := os.WriteFile(file, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := Collect(CopyDirlinks(context.Background(), file, DirlinkOptions{}))
	wantError(t, err)
	if len(got) != 1 || got[0].Type != Regular {
		t.Errorf("a file: %s", dump(t, got))
	}
	for range CopyDirlinks(context.Background(), filepath.Join(src, "d30"), DirlinkOptions{}) {
		break
	}
}
