package debstore

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/varve-image/varve/internal/testtools"
)

// someStatus has a cycle (c -> a), a virtual package, alternatives, an
// architecture, an epoch, and a package that is not installed any more.
const someStatus = "a\t1:2~3\tb (>= 1), c:any | gone, \t\tii \n" +
	"b\t1\t, libx (= 1)\tvirtual (= 2), other\tii \n" +
	"c\t1\tgone | virtual, a, nowhere, \t\tii \n" +
	"libx\t1-1\t, \tvirtual\tii \n" +
	"gone\t1\t, \t\trc \n"

// The hashes, computed with the formula in another language.
const (
	hashLibx = "979jy6fb132k870z3ns6qj0zmi1j2qfv"
	hashB    = "v0g76m1lhm2b6x190ic6hrcnrkcds7n9"
	hashC    = "icv9vm9aknga9sgq79xmmghrpz1z2kmy"
	hashA    = "mmzxlf7fv9175zl18phphgvzqwdbq2c2"
)

func TestPlan(t *testing.T) {
	s, err := parseStatus(someStatus)
	if err != nil {
		t.Fatal(err)
	}
	p, err := newPlan("/store", s, []string{"a", "libx"})
	if err != nil {
		t.Fatal(err)
	}
	want := []Path{
		{"/store/LIBX-libx-1-1", 1, []string{"/store/LIBX-libx-1-1"}, 1},
		{"/store/B-b-1", 10, []string{"/store/LIBX-libx-1-1", "/store/B-b-1"}, 11},
		{"/store/C-c-1", 100, []string{"/store/B-b-1", "/store/C-c-1"}, 111},
		{"/store/A-a-1_2_3", 1000, []string{"/store/B-b-1", "/store/C-c-1", "/store/A-a-1_2_3"}, 1111},
	}
	hashes := strings.NewReplacer("LIBX", hashLibx, "/B-", "/"+hashB+"-", "/C-", "/"+hashC+"-", "/A-", "/"+hashA+"-")
	for i := range want {
		want[i].Path = hashes.Replace(want[i].Path)
		for j, r := range want[i].References {
			want[i].References[j] = hashes.Replace(r)
		}
		slices.Sort(want[i].References)
	}
	got, summary := p.closure([]int64{1, 10, 100, 1000})
	if !slices.EqualFunc(got, want, func(x, y Path) bool {
		return x.Path == y.Path && x.NarSize == y.NarSize && x.ClosureSize == y.ClosureSize &&
			slices.Equal(x.References, y.References)
	}) {
		t.Errorf("closure\n%+v, want\n%+v", got, want)
	}
	if summary != (Summary{Paths: 4, Edges: 4, Bytes: 1111}) {
		t.Errorf("summary %+v", summary)
	}
}

func TestPlanRefuses(t *testing.T) {
	s, err := parseStatus(someStatus)
	if err != nil {
		t.Fatal(err)
	}
	_, err = newPlan("/store", s, []string{"gone", "a", "unheard-of"})
	if err == nil || !strings.Contains(err.Error(), `["gone" "unheard-of"]`) {
		t.Errorf("plan of missing packages: %v", err)
	}
	if _, err := parseStatus("a\tb\n"); err == nil {
		t.Error("a line of two fields was accepted")
	}
	if _, err := Make(t.Context(), "relative", t.TempDir(), []string{"a"}); err == nil {
		t.Error("a relative store was accepted")
	}
}

// TestMake lays out a small package that every Debian has, several times at
// once.
func TestMake(t *testing.T) {
	testtools.Need(t, "dpkg-query")
	dir := t.TempDir()
	store, out := filepath.Join(dir, "store"), filepath.Join(dir, "out")
	t.Cleanup(func() {
		if err := remove(store); err != nil {
			t.Error(err)
		}
	})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := Make(t.Context(), store, out, []string{"hostname"}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	var closure struct{ Closure []Path }
	data, err := os.ReadFile(filepath.Join(out, "closure.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &closure); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(store)
	if err != nil {
		t.Fatal(err)
	}
	if len(closure.Closure) == 0 || len(entries) != len(closure.Closure) {
		t.Errorf("%d store paths are there, closure.json has %d", len(entries), len(closure.Closure))
	}
	for _, p := range closure.Closure {
		checkSealed(t, p.Path)
	}
	root, err := os.ReadFile(filepath.Join(out, "roots"))
	if err != nil {
		t.Fatal(err)
	}
	last := closure.Closure[len(closure.Closure)-1]
	if string(root) != last.Path+"\n" {
		t.Errorf("roots are %q, want %q", root, last.Path)
	}
	checkUntouched(t, store, out, last.Path)
}

// checkSealed checks modes and times of all below path.
func checkSealed(t *testing.T, path string) {
	t.Helper()
	err := filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		mode := info.Mode()
		sealed := mode.Type() == fs.ModeSymlink || mode.Perm() == 0o555 || mode == 0o444
		if !sealed || info.ModTime().Unix() != 1 {
			t.Errorf("%s has mode %v and time %v", p, mode, info.ModTime())
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// checkUntouched checks that a store path is not made again.
func checkUntouched(t *testing.T, store, out, path string) {
	t.Helper()
	inode := func() uint64 {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Sys().(*syscall.Stat_t).Ino
	}
	before := inode()
	if _, err := Make(t.Context(), store, out, []string{"hostname"}); err != nil {
		t.Fatal(err)
	}
	if inode() != before {
		t.Errorf("%s was made again", path)
	}
}
