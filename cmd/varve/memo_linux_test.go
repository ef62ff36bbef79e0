package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/testtools"
)

// memoCase is a spec with files that are old enough to be recognised, and what it builds.
type memoCase struct {
	dir, want string
}

func newMemoCase(t *testing.T) memoCase {
	t.Helper()
	c := memoCase{dir: newMemoFiles(t)}
	settle()
	c.want = c.image(t, "none", "--no-cache")
	return c
}

// newMemoFiles makes a directory with a spec and files.
func newMemoFiles(t *testing.T) string {
	t.Helper()
	dir := openDir(t, "")
	for i := range 3 {
		put(t, filepath.Join(dir, fmt.Sprintf("files/f%d", i)), strings.Repeat(fmt.Sprintf("text %d ", i), 20_000), 0o644)
	}
	put(t, filepath.Join(dir, "image.yaml"), "name: app\ntag: \"1\"\nlayers: [{copyToRoot: [{source: files/f0, target: /a/}]}]\ncopyToRoot: [files]\n", 0o644)
	return dir
}

// image builds the image into a layout of its own and returns the fingerprint.
func (c memoCase) image(t *testing.T, name string, args ...string) string {
	t.Helper()
	o := c.try(t, name, args...)
	if o.code != 0 {
		t.Fatalf("build %q: exit code %d: %s", args, o.code, o.stderr)
	}
	return c.take(t, name)
}

func (c memoCase) try(t *testing.T, name string, args ...string) outcome {
	t.Helper()
	return run(t, varve(t, c.dir, append([]string{"build", "image.yaml", "-q", "-o", "oci:out-" + name}, args...)...))
}

// take returns the fingerprint of a layout and removes it.
func (c memoCase) take(t *testing.T, name string) string {
	t.Helper()
	out := filepath.Join(c.dir, "out-"+name)
	print := fingerprint(t, out, false)
	must(t, os.RemoveAll(out))
	return print
}

// fill fills a cache.
func (c memoCase) fill(t *testing.T, cache string) {
	t.Helper()
	if got := c.image(t, "fill", "--cache", cache); got != c.want {
		t.Fatalf("a cold build makes\n%s\nwant\n%s", got, c.want)
	}
	if files := memoFiles(t, cache); len(files) < 4 {
		t.Fatalf("the cache has only %q", files)
	}
}

// memoFiles lists the files of what was computed.
func memoFiles(t *testing.T, cache string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(cache, "memo/*/*"))
	must(t, err)
	return files
}

// checkCache fails if something is damaged in a cache, or left in it once it was pruned.
func (c memoCase) checkCache(t *testing.T, what, cache string) {
	t.Helper()
	if o := run(t, varve(t, c.dir, "cache", "verify", "-q", "--cache", cache)); o.code != 0 {
		t.Errorf("%s: verify: exit code %d: %s", what, o.code, o.stderr)
	}
	mustRun(t, c.dir, "cache", "prune", "--cache", cache)
	left, err := filepath.Glob(filepath.Join(cache, "memo/*/.*"))
	must(t, err)
	if len(left) > 0 {
		t.Errorf("%s: left are %q", what, left)
	}
}

// TestMemoFaults: a cache that cannot be used is said once, the build goes on, and makes the same.
func TestMemoFaults(t *testing.T) {
	testtools.NeedRoot(t)
	c := newMemoCase(t)
	each := func(t *testing.T, cache string, do func(name string) error) {
		files := memoFiles(t, cache)
		if len(files) == 0 {
			t.Fatal("there is nothing in the cache")
		}
		for _, name := range files {
			must(t, do(name))
		}
	}
	tmpfs := func(options string, prepare func(t *testing.T, cache string)) func(t *testing.T, cache string) {
		return func(t *testing.T, cache string) {
			mount(t, cache, options)
			prepare(t, cache)
		}
	}
	readOnly := func(t *testing.T, cache string) {
		must(t, unix.Mount("", cache, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	}
	for name, f := range map[string]struct {
		prepare func(t *testing.T, cache string)
		// said says that the build has to say that nothing is remembered.
		said bool
	}{
		"read-only, empty": {tmpfs("mode=700", readOnly), true},
		"read-only, filled": {tmpfs("mode=700", func(t *testing.T, cache string) {
			c.fill(t, cache)
			readOnly(t, cache)
		}), false},
		"read-only, half filled": {tmpfs("mode=700", func(t *testing.T, cache string) {
			c.fill(t, cache)
			must(t, os.RemoveAll(filepath.Join(cache, "memo/contents")))
			readOnly(t, cache)
		}), true},
		"full":       {tmpfs("mode=700,size=4k", func(*testing.T, string) {}), true},
		"little":     {tmpfs("mode=700,size=12k", func(*testing.T, string) {}), false},
		"no inodes":  {tmpfs("mode=700,nr_inodes=2", func(*testing.T, string) {}), true},
		"few inodes": {tmpfs("mode=700,nr_inodes=6", func(*testing.T, string) {}), true},
		"a file":     {func(t *testing.T, cache string) { put(t, cache, "x", 0o644) }, true},
		"memo is a file": {func(t *testing.T, cache string) {
			makeDirs(t, cache)
			put(t, filepath.Join(cache, "memo"), "x", 0o644)
		}, true},
		"contents is a file": {func(t *testing.T, cache string) {
			makeDirs(t, filepath.Join(cache, "memo"))
			put(t, filepath.Join(cache, "memo/contents"), "x", 0o644)
		}, true},
		"another user's": {func(t *testing.T, cache string) {
			c.fill(t, cache)
			own(t, nobody, cache)
		}, true},
		"others write": {func(t *testing.T, cache string) {
			c.fill(t, cache)
			must(t, os.Chmod(cache, 0o777))
		}, true},
		"files of another user": {func(t *testing.T, cache string) {
			c.fill(t, cache)
			each(t, cache, func(name string) error { return os.Chown(name, nobody, nobody) })
		}, false},
		"garbage": {func(t *testing.T, cache string) {
			c.fill(t, cache)
			each(t, cache, func(name string) error { return os.WriteFile(name, []byte("garbage"), 0o600) })
		}, false},
		"empty files": {func(t *testing.T, cache string) { // as after a loss of power
			c.fill(t, cache)
			each(t, cache, func(name string) error { return os.Truncate(name, 0) })
		}, false},
		"zeros": {func(t *testing.T, cache string) {
			c.fill(t, cache)
			each(t, cache, func(name string) error {
				info, err := os.Stat(name)
				if err == nil {
					err = os.WriteFile(name, make([]byte, info.Size()), 0o600)
				}
				return err
			})
		}, false},
		"contents swapped": {func(t *testing.T, cache string) {
			c.fill(t, cache)
			files, err := filepath.Glob(filepath.Join(cache, "memo/contents/*"))
			must(t, err)
			must(t, os.Rename(files[0], files[0]+"x"), os.Rename(files[1], files[0]), os.Rename(files[0]+"x", files[1]))
		}, false},
		"entries swapped": {func(t *testing.T, cache string) {
			c.fill(t, cache)
			for _, kind := range []string{"layers", "blobs"} {
				files, err := filepath.Glob(filepath.Join(cache, "memo", kind, "*"))
				must(t, err)
				must(t, os.Rename(files[0], files[0]+"x"), os.Rename(files[1], files[0]), os.Rename(files[0]+"x", files[1]))
			}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			cache := filepath.Join(openDir(t, ""), "cache")
			f.prepare(t, cache)
			for i := range 2 {
				o := c.try(t, "faulty", "--cache", cache)
				if o.code != 0 {
					t.Fatalf("build %d: exit code %d: %s", i, o.code, o.stderr)
				}
				if got := c.take(t, "faulty"); got != c.want {
					t.Errorf("build %d makes\n%s\nwant\n%s", i, got, c.want)
				}
				o = run(t, varve(t, c.dir, "build", "image.yaml", "-o", "oci:out-loud", "--cache", cache))
				if n := strings.Count(o.stderr, "what was computed is not remembered"); o.code != 0 || f.said && n != 1 || n > 1 {
					t.Errorf("exit code %d, said %d times: %s", o.code, n, o.stderr)
				}
				must(t, os.RemoveAll(filepath.Join(c.dir, "out-loud")))
			}
			if left, _ := filepath.Glob(filepath.Join(cache, "memo/*/.*")); len(left) > 0 {
				t.Errorf("left are %q", left)
			}
		})
	}
}

// TestMemoStorm: builds at once on one cache, while others clear it, make the same image.
func TestMemoStorm(t *testing.T) {
	c := newMemoCase(t)
	cache := filepath.Join(c.dir, "cache")
	shipped.get(t)
	var builds sync.WaitGroup
	for i := range 16 {
		builds.Go(func() {
			limit := []string{"none", "1k", "100k", "10GiB"}[i%4]
			name := fmt.Sprint(i)
			if got := c.image(t, name, "--cache", cache, "--cache-max", limit); got != c.want {
				t.Errorf("build %d makes\n%s\nwant\n%s", i, got, c.want)
			}
			if i%4 == 0 {
				mustRun(t, c.dir, "cache", "prune", "--older-than", "0s", "--cache", cache)
			}
		})
	}
	builds.Wait()
	c.checkCache(t, "after the storm", cache)
}

// TestMemoErrors: when a system call fails, whether it was for the cache or the image, the image is
// right or there is none.
func TestMemoErrors(t *testing.T) {
	strace := testtools.Need(t, "strace")
	c := newMemoCase(t)
	k := killing{dir: c.dir}
	makeDirs(t, filepath.Join(c.dir, "tmp"))
	most := 6
	if sweep {
		most = 1000
	}
	for _, filled := range []bool{false, true} {
		for _, call := range []string{"write", "read", "linkat", "renameat", "mkdirat", "fchmod", "openat", "newfstatat", "flock"} {
			t.Run(fmt.Sprintf("%s filled=%v", call, filled), func(t *testing.T) {
				cache := filepath.Join(openDir(t, ""), "cache")
				command := []string{"build", "image.yaml", "-o", "oci:out-injected", "--cache", cache}
				for n := 1; n <= most; n++ {
					must(t, os.RemoveAll(cache), os.RemoveAll(filepath.Join(c.dir, "out-injected")))
					if filled {
						c.fill(t, cache)
					}
					o, happened := k.injected(t, strace, command, call, "error=EIO", n)
					if !happened {
						break
					}
					if o.code == 0 {
						if got := c.take(t, "injected"); got != c.want {
							t.Errorf("%s %d failed: the build makes\n%s\nwant\n%s", call, n, got, c.want)
						}
					}
					if said := strings.Count(o.stderr, "what was computed is not remembered"); said > 1 {
						t.Errorf("%s %d failed: said %d times: %s", call, n, said, o.stderr)
					}
					if got := c.image(t, "after", "--cache", cache); got != c.want {
						t.Errorf("%s %d failed: the next build makes\n%s\nwant\n%s", call, n, got, c.want)
					}
				}
			})
		}
	}
}

// TestMemoProperty: whatever happens to files and to the cache, a build makes what it makes without
// a cache.
func TestMemoProperty(t *testing.T) {
	seeds, rounds := 4, 2
	if sweep {
		seeds, rounds = 40, 20
	}
	var worlds []*memoWorld
	for seed := range seeds {
		worlds = append(worlds, newMemoWorld(t, uint64(seed)))
	}
	for round := range rounds {
		settle()
		for _, w := range worlds {
			w.build(t, round, "cold") // which may keep what it finds
			if kept, err := filepath.Glob(filepath.Join(w.dir, "cache/memo/layers/*")); err != nil || len(kept) == 0 {
				t.Fatalf("nothing was kept: %v", err)
			}
			w.build(t, round, "warm")
			for range 3 { // changes that come too fast for clocks to tell
				w.change()
				w.build(t, round, "at once")
			}
			w.spoil()
			w.build(t, round, "spoiled")
			w.change()
		}
	}
}

// memoWorld is a directory with files, a spec and a cache, which change at random.
type memoWorld struct {
	t     *testing.T
	dir   string
	seed  uint64
	rand  *rand.Rand
	files []string
	log   []string
}

func newMemoWorld(t *testing.T, seed uint64) *memoWorld {
	w := &memoWorld{t: t, dir: openDir(t, ""), seed: seed, rand: rand.New(rand.NewPCG(seed, 1))}
	for i := range 3 + w.rand.IntN(6) {
		name := filepath.Join(w.dir, "tree", strings.Repeat("d/", w.rand.IntN(3)), fmt.Sprintf("f%d", i))
		put(t, name, strings.Repeat(w.letter(), []int{0, 1, 4096, 70_000}[w.rand.IntN(4)]), 0o644)
		w.files = append(w.files, name)
	}
	tool(t, "cp", "-a", filepath.Join(w.dir, "tree"), filepath.Join(w.dir, "twin")) // of the same names, sizes and times
	for _, name := range w.files {
		twin := filepath.Join(w.dir, "twin", strings.TrimPrefix(name, filepath.Join(w.dir, "tree")))
		info, err := os.Stat(twin)
		must(t, err, os.WriteFile(twin, []byte(strings.Repeat(w.letter(), int(info.Size()))), 0o644), os.Chtimes(twin, info.ModTime(), info.ModTime()))
	}
	put(t, filepath.Join(w.dir, "other/file"), strings.Repeat(w.letter(), 4096), 0o644)
	spec := "name: app\ntag: \"1\"\ncopyToRoot: [tree]\n"
	if w.rand.IntN(2) == 0 {
		spec += "layers: [{copyToRoot: [{source: other, target: /o/}]}]\n"
	}
	spec += []string{"", "compressor: zstd\n", "compressor: none\n"}[w.rand.IntN(3)]
	if w.rand.IntN(2) == 0 {
		spec += w.makeStore()
	}
	put(t, filepath.Join(w.dir, "image.yaml"), spec, 0o644)
	return w
}

// makeStore makes a store of two paths, one of which needs the other, and returns what a spec says of it.
func (w *memoWorld) makeStore() string {
	store := filepath.Join(w.dir, "store")
	lib, app := filepath.Join(store, strings.Repeat("b", 32)+"-lib"), filepath.Join(store, strings.Repeat("c", 32)+"-app")
	for i, name := range []string{filepath.Join(lib, "lib/a"), filepath.Join(lib, "lib/b"), filepath.Join(app, "bin/app")} {
		put(w.t, name, strings.Repeat(w.letter(), []int{1, 4096, 70_000}[(i+w.rand.IntN(2))%3]), 0o644)
		w.files = append(w.files, name)
	}
	put(w.t, filepath.Join(app, "needs"), lib, 0o644)
	return fmt.Sprintf("storeDir: %s\ncontents: [%s]\n", store, app)
}

func (w *memoWorld) letter() string { return string(rune('a' + w.rand.IntN(26))) }

func (w *memoWorld) file() string { return w.files[w.rand.IntN(len(w.files))] }

// build compares a build with the cache and one without.
func (w *memoWorld) build(t *testing.T, round int, what string) {
	t.Helper()
	var prints []string
	for _, args := range [][]string{{"--cache", "cache"}, {"--no-cache"}} {
		mustRun(t, w.dir, append([]string{"build", "image.yaml", "-q", "-o", "oci:out"}, args...)...)
		prints = append(prints, fingerprint(t, filepath.Join(w.dir, "out"), false))
		must(t, os.RemoveAll(filepath.Join(w.dir, "out")))
	}
	if prints[0] != prints[1] {
		t.Fatalf("seed %d, round %d, %s: after %q a build makes\n%s\nwant\n%s", w.seed, round, what, w.log, prints[0], prints[1])
	}
}

// change changes a file, and hides it as well as can be.
func (w *memoWorld) change() {
	name := w.file()
	info, err := os.Stat(name)
	must(w.t, err)
	what := w.rand.IntN(10)
	w.log = append(w.log, fmt.Sprintf("%d %s", what, filepath.Base(name)))
	text := []byte(strings.Repeat(w.letter(), int(info.Size())))
	times := func(name string) { must(w.t, os.Chtimes(name, info.ModTime(), info.ModTime())) }
	switch what {
	case 0: // in place, with the time that it had
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		must(w.t, err)
		_, err = f.Write(text)
		must(w.t, err, f.Close())
		times(name)
	case 1: // by another file with its size and time
		must(w.t, os.WriteFile(name+"~", text, 0o644))
		times(name + "~")
		must(w.t, os.Rename(name+"~", name))
	case 2: // its time alone
		must(w.t, os.Chtimes(name, time.Unix(1, 0), time.Unix(1, 0)))
		times(name)
	case 3: // a hard link of another, as in a store that is optimised
		other := w.file()
		if other != name {
			must(w.t, os.Link(other, name+"~"), os.Rename(name+"~", name))
			_ = os.Remove(name + "~") // where they were names of one file already, it stays
		}
	case 4: // two files change places
		other := w.file()
		if other != name {
			must(w.t, os.Rename(name, name+"~"), os.Rename(other, name), os.Rename(name+"~", other))
		}
	case 5: // with a time to come, as after the clock was set back
		must(w.t, os.WriteFile(name, text, 0o644), os.Chtimes(name, time.Now().Add(time.Hour), time.Now().Add(time.Hour)))
	case 6: // a copy of the whole tree in its place, with other inodes
		tree := filepath.Join(w.dir, "tree")
		tool(w.t, "cp", "-a", tree, tree+"~")
		must(w.t, os.RemoveAll(tree), os.Rename(tree+"~", tree), os.WriteFile(name, text, 0o644))
		times(name)
	case 7: // through memory
		if len(text) > 0 {
			f, err := os.OpenFile(name, os.O_RDWR, 0)
			must(w.t, err)
			mapped, err := unix.Mmap(int(f.Fd()), 0, len(text), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			must(w.t, err)
			copy(mapped, text)
			must(w.t, unix.Munmap(mapped), f.Close())
			times(name)
		}
	case 9: // the same content in another file that has more names, as in a store that is optimised
		data, err := os.ReadFile(name)
		links := filepath.Join(w.dir, "links")
		makeDirs(w.t, links)
		link := filepath.Join(links, fmt.Sprint(len(w.log)))
		must(w.t, err, os.WriteFile(link, data, info.Mode()))
		times(link)
		must(w.t, os.Link(link, name+"~"), os.Rename(name+"~", name))
	case 8: // two directories change places
		must(w.t, unix.Renameat2(unix.AT_FDCWD, filepath.Join(w.dir, "tree"), unix.AT_FDCWD, filepath.Join(w.dir, "twin"), unix.RENAME_EXCHANGE))
	}
}

// spoil does something to the cache.
func (w *memoWorld) spoil() {
	files := memoFiles(w.t, filepath.Join(w.dir, "cache"))
	if len(files) == 0 {
		return
	}
	slices.Sort(files)
	for range 1 + w.rand.IntN(len(files)) {
		name := files[w.rand.IntN(len(files))]
		data, err := os.ReadFile(name)
		if err != nil || len(data) == 0 {
			continue
		}
		switch w.rand.IntN(5) {
		case 0:
			must(w.t, os.Remove(name))
		case 2: // as after the clock was set back
			must(w.t, os.Chtimes(name, time.Now().Add(time.Hour), time.Now().Add(time.Hour)))
		case 3: // under the name of another
			must(w.t, os.WriteFile(files[w.rand.IntN(len(files))], data, 0o600))
		case 1:
			must(w.t, os.Truncate(name, int64(w.rand.IntN(len(data)))))
		default:
			data[w.rand.IntN(len(data))] ^= 1 << w.rand.IntN(8)
			must(w.t, os.WriteFile(name, data, 0o600))
		}
	}
	w.log = append(w.log, "spoiled")
	cache, old := filepath.Join(w.dir, "cache"), filepath.Join(w.dir, "cache~")
	if _, err := os.Stat(old); err == nil && w.rand.IntN(2) == 0 { // an older state, as of a backup
		must(w.t, os.RemoveAll(cache), os.Rename(old, cache))
		w.log = append(w.log, "an old cache")
	} else {
		must(w.t, os.RemoveAll(old))
		tool(w.t, "cp", "-a", cache, old)
	}
}
