package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/testtools"
)

// stranger is a user that the tests do not run as.
const stranger = 12345

// give makes a file another user's.
func give(t *testing.T, name string) {
	t.Helper()
	if err := os.Lchown(name, stranger, stranger); err != nil {
		t.Fatal(err)
	}
}

func check(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// TestOthersLeftovers: what other users have put under temporary names stays as it is,
// whoever finds it.
func TestOthersLeftovers(t *testing.T) {
	testtools.NeedRoot(t)
	dir := t.TempDir()
	check(t, os.Chmod(dir, 0o777|fs.ModeSticky))
	secret := filepath.Join(t.TempDir(), "secret")
	check(t, os.WriteFile(secret, nil, 0o644))
	target := filepath.Join(dir, "out")
	file, full, link, fifo := temp(target, "1"), temp(target, "2"), temp(target, "3"), temp(target, "4")
	check(t, os.WriteFile(file, nil, 0o666), os.MkdirAll(full+"/of", 0o777), os.Symlink(secret, link), unix.Mkfifo(fifo, 0o666))
	for _, name := range []string{file, full, link, fifo} {
		give(t, name)
	}
	own := temp(target, "5") // a link of our own is none of our work
	check(t, os.Symlink(secret, own))
	want := list(t, dir)
	f, err := Create(target)
	check(t, err)
	f.Abort()
	d, err := CreateDir(target)
	check(t, err)
	d.Abort()
	if got := list(t, dir); !slices.Equal(got, want) {
		t.Errorf("there is %q, want %q", got, want)
	}
	if _, err := os.Lstat(full + "/of"); err != nil {
		t.Error(err)
	}
	if info, err := os.Lstat(secret); err != nil || info.Mode() != 0o644 {
		t.Errorf("what a link leads to: %v, %v", info.Mode(), err)
	}
}

// TestRenamedDirectory: if others can rename our directories, one with a temporary name
// may be any of ours, and stays.
func TestRenamedDirectory(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "out")
	precious := temp(target, "1")
	check(t, os.MkdirAll(precious+"/work", 0o700))
	for _, mode := range []fs.FileMode{0o777, 0o775, 0o777 | fs.ModeSticky, 0o755} {
		check(t, os.Chmod(dir, mode))
		f, err := Create(target)
		check(t, err)
		f.Abort()
		_, err = os.Lstat(precious + "/work")
		if stays := err == nil; stays != (mode == 0o777 || mode == 0o775) {
			t.Errorf("in a directory of mode %v it stays: %v", mode, stays)
		}
		check(t, os.MkdirAll(precious+"/work", 0o700))
	}
	// What a killed process leaves has another mode, or is empty.
	check(t, os.Chmod(dir, 0o777))
	killed, err := CreateDir(target)
	check(t, err, killed.Root.WriteFile("file", nil, 0o666), killed.lock.Close())
	check(t, os.Mkdir(temp(target, "2"), 0o700))
	f, err := Create(target)
	check(t, err)
	f.Abort()
	if got := list(t, dir); !slices.Equal(got, []string{filepath.Base(precious)}) {
		t.Errorf("left: %q", got)
	}
}

// TestKilledWhileSyncing: a directory that has its final mode is still recognised as a
// leftover while it is made durable.
func TestKilledWhileSyncing(t *testing.T) {
	dir := t.TempDir()
	check(t, os.Chmod(dir, 0o777))
	target := filepath.Join(dir, "out")
	killed := errors.New("killed")
	d, err := CreateDir(target)
	check(t, err, d.Root.WriteFile("file", nil, 0o666), d.Root.Chmod(".", 0o755))
	if err := d.marked(func(*os.File) error { return killed }); err != killed {
		t.Fatal(err)
	}
	d.close() // as the kernel does
	check(t, d.parent.Close())
	d, err = CreateDir(target)
	check(t, err)
	if got := list(t, dir); !slices.Equal(got, []string{filepath.Base(d.Path())}) {
		t.Errorf("left: %q", got)
	}
	const mode = fs.ModeDir | fs.ModeSetgid | 0o751
	check(t, d.Root.Chmod(".", mode), d.Commit())
	if info, err := os.Stat(target); err != nil || info.Mode() != mode {
		t.Errorf("mode %v, %v, want %v", info.Mode(), err, mode)
	}
}

// TestExchangedDirectory: if somebody exchanges the directory that is being filled for
// another one, the other one is neither filled nor removed.
func TestExchangedDirectory(t *testing.T) {
	dir := t.TempDir()
	check(t, os.Chmod(dir, 0o777))
	for _, end := range []func(*Dir) error{(*Dir).Commit, func(d *Dir) error { d.Abort(); return errors.New("aborted") }} {
		d, err := CreateDir(filepath.Join(dir, "out"))
		check(t, err)
		away, precious := filepath.Join(dir, "away"), d.Path()
		check(t, os.Rename(precious, away), os.MkdirAll(precious+"/work", 0o700), d.Root.WriteFile("file", nil, 0o666))
		if end(d) == nil {
			t.Error("it is committed")
		}
		if got := list(t, precious); !slices.Equal(got, []string{"work"}) {
			t.Errorf("in the other directory: %q", got)
		}
		if got := list(t, away); len(got) > 0 {
			t.Errorf("left: %q", got)
		}
		check(t, os.RemoveAll(precious), os.Remove(away))
	}
}

// TestNamesTaken: if a temporary name is taken, another one is tried, but not endlessly.
func TestNamesTaken(t *testing.T) {
	dir := t.TempDir()
	f := &File{dir: openRoot(t, dir), base: "out"}
	used := map[string]bool{}
	err := tryNames("out", func(name string) error {
		used[name] = true
		if len(used) < 4 {
			check(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
		}
		return f.begin(name)
	})
	if err != nil || len(used) != 4 {
		t.Errorf("%d names were tried: %v", len(used), err)
	}
	f.File.Close()
	calls := 0
	if err := tryNames("out", func(string) error { calls++; return fs.ErrExist }); !errors.Is(err, fs.ErrExist) || calls > 1000 {
		t.Errorf("%d tries, %v", calls, err)
	}
}

// TestLongName: a name of the maximum length has temporary names.
func TestLongName(t *testing.T) {
	target := filepath.Join(t.TempDir(), strings.Repeat("ö", 127))
	f, err := Create(target)
	check(t, err)
	check(t, f.Commit())
	d, err := CreateDir(target + "x")
	check(t, err)
	check(t, d.Commit())
}

// TestSpecialOfOthers: whoever writes to a name does not mean another user's FIFO,
// nor the target of another user's link.
func TestSpecialOfOthers(t *testing.T) {
	testtools.NeedRoot(t)
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	check(t, unix.Mkfifo(fifo, 0o600))
	reader, err := os.OpenFile(fifo, os.O_RDONLY|unix.O_NONBLOCK, 0) // or opening it to write would wait
	check(t, err)
	defer reader.Close()
	link := filepath.Join(dir, "link")
	check(t, os.Symlink("/dev/null", link))
	for _, c := range []struct {
		what, name string
		prepare    func()
		good       bool
	}{
		{"own FIFO", fifo, func() {}, true},
		{"own link", link, func() {}, true},
		{"device", "/dev/null", func() {}, true},
		{"another's FIFO", fifo, func() { give(t, fifo) }, false},
		{"another's link", link, func() { give(t, link) }, false},
		{"own link where others rename", link, func() { check(t, os.Lchown(link, 0, 0), os.Chmod(dir, 0o777)) }, false},
	} {
		c.prepare()
		f, err := Create(c.name)
		if good := err == nil; good != c.good {
			t.Errorf("%s: %v", c.what, err)
		}
		if err == nil {
			f.Abort()
		}
	}
}

// TestManyAtOnce: processes that make one target do not take each other's files for leftovers.
func TestManyAtOnce(t *testing.T) {
	dir := t.TempDir()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				d, err := CreateDir(filepath.Join(dir, "out"))
				if err != nil {
					t.Error(err)
					return
				}
				if err := d.Root.WriteFile("file", nil, 0o666); err != nil {
					t.Error(err)
				}
				d.Abort()
			}
		})
	}
	all.Wait()
	if got := list(t, dir); len(got) > 0 {
		t.Errorf("left: %q", got)
	}
}
