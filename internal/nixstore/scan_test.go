package nixstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// tinyStore is a store directory that a test fills. Files are given by their
// path in the store directory; $name in a content stands for the path of the
// store path called name.
type tinyStore struct {
	t    *testing.T
	root string
	// paths are the logical store paths by name.
	paths map[string]string
}

func newTinyStore(t *testing.T, names ...string) *tinyStore {
	t.Helper()
	s := &tinyStore{t: t, root: t.TempDir(), paths: map[string]string{}}
	for i, name := range names {
		var b [20]byte
		for j := range b {
			b[j] = byte(i*31 + j*57 + 5)
		}
		s.paths[name] = DefaultStoreDir + "/" + Base32(b[:]) + "-" + name
	}
	s.must(os.MkdirAll(s.root+DefaultStoreDir, 0o755))
	return s
}

func (s *tinyStore) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// expand replaces $name, the longest names first.
func (s *tinyStore) expand(text string) string {
	names := make([]string, 0, len(s.paths))
	for name := range s.paths {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return len(b) - len(a) })
	for _, name := range names {
		text = strings.ReplaceAll(text, "$"+name, s.paths[name])
	}
	return text
}

// file returns the real path of a file below a store path, its parents made.
func (s *tinyStore) file(name string) string {
	s.t.Helper()
	p := s.root + s.expand("$"+name)
	s.must(os.MkdirAll(filepath.Dir(p), 0o755))
	return p
}

func (s *tinyStore) write(name, content string) {
	s.t.Helper()
	s.must(os.WriteFile(s.file(name), []byte(s.expand(content)), 0o644))
}

func (s *tinyStore) link(name, target string) {
	s.t.Helper()
	s.must(os.Symlink(s.expand(target), s.file(name)))
}

func (s *tinyStore) scan(roots ...string) ([]PathInfo, error) {
	var paths []string
	for _, r := range roots {
		paths = append(paths, s.expand(r))
	}
	return Scan(context.Background(), ScanOptions{Root: s.root, Roots: paths})
}

// names gives the references by name, as "path: reference reference".
func (s *tinyStore) names(nodes []PathInfo) []string {
	name := func(p string) string { return p[len(DefaultStoreDir)+hashLen+2:] }
	var lines []string
	for _, n := range nodes {
		line := name(n.Path) + ":"
		refs := []string{}
		for _, ref := range n.References {
			refs = append(refs, name(ref))
		}
		slices.Sort(refs)
		lines = append(lines, strings.TrimSpace(line+" "+strings.Join(refs, " ")))
	}
	slices.Sort(lines)
	return lines
}

// applicationStore makes a store with an application, its libraries and a link to
// it, beside paths that nothing refers to.
func applicationStore(t *testing.T) *tinyStore {
	s := newTinyStore(t, "libc-2.39", "openssl-3.0.14", "app-1.0", "app-link", "config.json", "by-name", "self", "other")
	s.write("libc-2.39/lib/libc.so.6", strings.Repeat("libc", 700_000))
	s.link("libc-2.39/lib/libc.so", "libc.so.6")
	s.write("openssl-3.0.14/lib/libssl.so.3", strings.Repeat("\x00ssl", 100_000))
	s.write("openssl-3.0.14/etc/ssl/openssl.cnf", "# $libc-2.39\n")
	s.write("app-1.0/bin/app", "#!/bin/sh\necho hello from app\n")
	s.link("app-link", "$app-1.0")
	s.write("config.json", `{"hello": true}`)
	s.write("by-name/"+filepath.Base(s.paths["openssl-3.0.14"])+".pc", "")
	s.write("self/share/x", "$self/lib and $config.json/..")
	s.write("other", "$self")
	return s
}

func TestScan(t *testing.T) {
	s := applicationStore(t)
	for _, test := range []struct{ roots, want []string }{
		{nil, nil},
		{[]string{"$libc-2.39"}, []string{"libc-2.39:"}},
		{[]string{"$openssl-3.0.14"}, []string{"libc-2.39:", "openssl-3.0.14: libc-2.39"}},
		{[]string{"$app-link", "$app-link"}, []string{"app-1.0:", "app-link: app-1.0"}},
		{[]string{"$by-name"}, []string{"by-name: openssl-3.0.14", "libc-2.39:", "openssl-3.0.14: libc-2.39"}},
		{[]string{"$self", "$app-1.0"}, []string{"app-1.0:", "config.json:", "self: config.json self"}},
	} {
		t.Run(strings.Join(test.roots, " "), func(t *testing.T) {
			nodes, err := s.scan(test.roots...)
			if err != nil {
				t.Fatal(err)
			}
			if got := s.names(nodes); !slices.Equal(got, test.want) {
				t.Errorf("closure of %v: %q, want %q", test.roots, got, test.want)
			}
			checkWhole(t, nodes)
			if !slices.IsSortedFunc(nodes, func(a, b PathInfo) int { return strings.Compare(a.Path, b.Path) }) {
				t.Errorf("closure of %v is not in order", test.roots)
			}
			for _, n := range nodes {
				if !slices.IsSorted(n.References) {
					t.Errorf("references %v are not in order", n.References)
				}
			}
		})
	}
}

func TestScanIsDeterministic(t *testing.T) {
	names := []string{"top"}
	for i := range 60 {
		names = append(names, "n"+strconv.Itoa(i)+".")
	}
	s := newTinyStore(t, names...)
	s.write("top", "$"+strings.Join(names[1:], " $"))
	for i, name := range names[1:] {
		s.write(name, "$"+names[1+i/2])
	}
	first, err := s.scan("$top")
	if err != nil || len(first) != len(names) {
		t.Fatalf("%d nodes, %v", len(first), err)
	}
	for range 5 {
		again, err := s.scan("$top")
		if err != nil || !reflect.DeepEqual(first, again) {
			t.Fatalf("another closure: %v, %v", again, err)
		}
	}
}

// TestScanBufferEdge puts a hash at every offset around the end of the read
// buffer.
func TestScanBufferEdge(t *testing.T) {
	s := newTinyStore(t, "lib", "user")
	s.write("lib", "")
	hash := filepath.Base(s.paths["lib"])[:hashLen]
	table := newHashTable([]string{hash})
	w := newWalker(table)
	for offset := -hashLen - 2; offset <= 2; offset++ {
		data := make([]byte, bufferSize+100)
		copy(data[bufferSize+offset:], hash)
		s.write("user", string(data))
		w.scanner.Reset()
		name := s.file("user")
		if err := w.node(context.Background(), place{dir: unix.AT_FDCWD, name: name, full: name}); err != nil {
			t.Fatal(err)
		}
		if got := w.scanner.Found(); !slices.Equal(got, []string{hash}) {
			t.Errorf("offset %d: found %v", offset, got)
		}
	}
}

// TestScanStreamsAreApart splits a hash between the end of one file and the start
// of the next, and between a name and a content.
func TestScanStreamsAreApart(t *testing.T) {
	s := newTinyStore(t, "lib", "user")
	s.write("lib", "")
	hash := filepath.Base(s.paths["lib"])[:hashLen]
	s.write("user/a", hash[:16])
	s.write("user/b", hash[16:])
	s.write("user/"+hash[:20], hash[20:])
	s.link("user/z", hash[:10])
	s.link("user/zz"+hash[:10], hash[10:])
	nodes, err := s.scan("$user")
	if err != nil || len(nodes) != 1 {
		t.Errorf("%v, %v; want no references", nodes, err)
	}
}

func TestScanCandidates(t *testing.T) {
	s := newTinyStore(t, "lib", "user", "Cargo.lock", "gone")
	s.write("lib", "")
	s.write("Cargo.lock", "")
	s.write("user", "$lib $Cargo.lock $gone")
	store := s.root + DefaultStoreDir
	// Other entries that a store directory can have beside store paths.
	s.must(os.WriteFile(s.root+s.paths["lib"]+".lock", nil, 0o600))
	s.must(os.Mkdir(s.root+s.paths["lib"]+".chroot", 0o700))
	s.must(os.MkdirAll(store+"/.links", 0o755))
	s.must(os.WriteFile(store+"/.links/x", nil, 0o644))
	s.must(os.WriteFile(store+"/trash", nil, 0o644))
	nodes, err := s.scan("$user")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"Cargo.lock:", "lib:", "user: Cargo.lock lib"}
	if got := s.names(nodes); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestList(t *testing.T) {
	s := applicationStore(t)
	s.must(os.WriteFile(s.root+s.paths["app-1.0"]+".lock", nil, 0o600))
	s.must(os.Mkdir(s.root+DefaultStoreDir+"/.links", 0o755))
	var want []string
	for _, p := range s.paths {
		want = append(want, p)
	}
	slices.Sort(want)
	if got, err := List(ScanOptions{Root: s.root}); err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	if got, err := List(ScanOptions{Root: t.TempDir()}); err != nil || len(got) != 0 {
		t.Errorf("no store: got %q, %v", got, err)
	}
	_, err := List(ScanOptions{StoreDir: "relative"})
	wantError(t, err, `"relative"`)
}

func TestScanSharedHash(t *testing.T) {
	s := newTinyStore(t, "one", "user")
	s.paths["two"] = strings.TrimSuffix(s.paths["one"], "one") + "two"
	s.write("one", "")
	s.write("two", "")
	s.write("user", "$one")
	nodes, err := s.scan("$user")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := s.names(nodes), []string{"one:", "two:", "user: one two"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestScanErrors(t *testing.T) {
	fifo := func(s *tinyStore) { s.must(unix.Mkfifo(s.file("app/fifo"), 0o644)) }
	for _, test := range []struct {
		name    string
		prepare func(s *tinyStore)
		roots   []string
		want    []string
	}{
		{"roots", nil, []string{"$app", "/etc/passwd", "$app/bin", "$gone", "/nix/store/.."}, []string{`"/etc/passwd" is not in the store`, "/bin\" is not a store path", "-gone\": there is no such", "/nix/store/.."}},
		{"FIFO", fifo, []string{"$app"}, []string{"/nix/store/", "-app/fifo", "a FIFO cannot"}},
		{"store path is a FIFO", func(s *tinyStore) { s.must(unix.Mkfifo(s.file("gone"), 0o644)) }, []string{"$gone"}, []string{"-gone", "a FIFO cannot"}},
		{"two at once", func(s *tinyStore) {
			fifo(s)
			s.must(unix.Mkfifo(s.file("lib/fifo"), 0o644))
		}, []string{"$app", "$lib"}, []string{"-app/fifo", "-lib/fifo"}},
		{"store is a symlink", func(s *tinyStore) {
			s.must(os.Rename(s.root+"/nix", s.root+"/moved"))
			s.must(os.Symlink("/", s.root+"/nix"))
		}, []string{"$app"}, []string{"open directory", "/nix\"", "symlink"}},
		{"no store", func(s *tinyStore) { s.must(os.Rename(s.root+"/nix", s.root+"/moved")) }, []string{"$app"}, []string{"/nix\"", "no such file"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newTinyStore(t, "app", "lib", "gone")
			s.write("app/bin/app", "$lib")
			s.write("lib/lib.so", "")
			if test.prepare != nil {
				test.prepare(s)
			}
			before := openFiles(t)
			nodes, err := s.scan(test.roots...)
			wantError(t, err, test.want...)
			if nodes != nil {
				t.Errorf("nodes %v beside an error", nodes)
			}
			if after := openFiles(t); after != before {
				t.Errorf("%d files open before, %d after", before, after)
			}
		})
	}
}

// openFiles counts the process's file descriptors.
func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Skip(err)
	}
	return len(list)
}

func TestScanUnreadable(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root reads everything")
	}
	s := newTinyStore(t, "app")
	s.write("app/secret", "")
	s.must(os.Chmod(s.file("app/secret"), 0))
	_, err := s.scan("$app")
	wantError(t, err, "-app/secret", "permission denied")
}

func TestScanVanishedPath(t *testing.T) {
	s := newTinyStore(t, "app", "lib")
	s.write("app/bin/app", "$lib")
	s.write("lib/lib.so", "")
	store, err := openStore(s.root, DefaultStoreDir)
	s.must(err)
	defer store.Close()
	c, err := newCrawl(store, DefaultStoreDir)
	s.must(err)
	s.must(os.RemoveAll(s.file("lib")))
	_, err = c.run(context.Background(), []string{filepath.Base(s.paths["app"])})
	wantError(t, err, s.paths["lib"], "no such file")
}

// TestWalkChanged changes a file after it has been looked at.
func TestWalkChanged(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(s *tinyStore, file string)
	}{
		{"grown", func(s *tinyStore, file string) { s.must(os.WriteFile(file, []byte("longer"), 0o644)) }},
		{"shrunk", func(s *tinyStore, file string) { s.must(os.Truncate(file, 1)) }},
		{"rewritten", func(s *tinyStore, file string) { s.must(os.Chtimes(file, time.Time{}, time.Unix(5, 0))) }},
		{"replaced", func(s *tinyStore, file string) {
			// The old file stays, or the new one could get its inode number.
			s.must(os.Rename(file, file+".old"))
			s.must(os.WriteFile(file, []byte("text"), 0o644))
		}},
		{"now a FIFO", func(s *tinyStore, file string) {
			s.must(os.Remove(file))
			s.must(unix.Mkfifo(file, 0o644))
		}},
		{"now a symlink", func(s *tinyStore, file string) {
			s.must(os.Remove(file))
			s.must(os.Symlink("/etc/passwd", file))
		}},
		{"gone", func(s *tinyStore, file string) { s.must(os.Remove(file)) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newTinyStore(t, "app")
			s.write("app", "text")
			file := s.file("app")
			var st unix.Stat_t
			s.must(unix.Lstat(file, &st))
			test.change(s, file)
			w := newWalker(newHashTable(nil))
			err := w.file(context.Background(), place{dir: unix.AT_FDCWD, name: file, full: file}, &st)
			wantError(t, err, strconv.Quote(file))
		})
	}
}

// meddler is a context that changes something when its Err is called, which a
// walker does after it has looked at a file and before it reads it.
type meddler struct {
	context.Context
	asked int
	// when is the number of the call at which it meddles.
	when   int
	meddle func()
}

func (m *meddler) Err() error {
	if m.asked++; m.asked == m.when {
		m.meddle()
	}
	return nil
}

// TestWalkChangesMeanwhile changes what has been opened already.
func TestWalkChangesMeanwhile(t *testing.T) {
	for _, test := range []struct {
		name string
		when int
		// change gets the path of a directory that holds a file.
		change func(s *tinyStore, dir string)
		want   string
	}{
		{"file grows", 3, func(s *tinyStore, dir string) { s.must(os.WriteFile(dir+"/file", []byte("longer"), 0o644)) }, "-app/file\""},
		{"file shrinks", 3, func(s *tinyStore, dir string) { s.must(os.Truncate(dir+"/file", 1)) }, "-app/file\""},
		{"directory gets a file", 2, func(s *tinyStore, dir string) { s.must(os.WriteFile(dir+"/more", nil, 0o644)) }, "-app\""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newTinyStore(t, "app")
			s.write("app/file", "text")
			dir := s.file("app")
			// A time long past, or the change could be within its resolution.
			s.must(os.Chtimes(dir, time.Time{}, time.Unix(1, 0)))
			ctx := &meddler{Context: context.Background(), when: test.when, meddle: func() { test.change(s, dir) }}
			w := newWalker(newHashTable(nil))
			err := w.node(ctx, place{dir: unix.AT_FDCWD, name: dir, full: dir})
			wantError(t, err, test.want, "changed while it was read")
		})
	}
}

func TestWalkDepth(t *testing.T) {
	s := newTinyStore(t, "app")
	s.must(os.Mkdir(s.file("app"), 0o755))
	w := newWalker(newHashTable(nil))
	p := place{dir: unix.AT_FDCWD, name: s.file("app"), full: "app", depth: maxDepth - 1}
	if err := w.node(context.Background(), p); err != nil {
		t.Error(err)
	}
	s.must(os.Mkdir(s.file("app/one-more"), 0o755))
	err := w.node(context.Background(), p)
	wantError(t, err, `"app/one-more"`, "nested deeper than 1000")
}

func TestScanCancelled(t *testing.T) {
	s := applicationStore(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := Scan(ctx, ScanOptions{Root: s.root, Roots: []string{s.paths["libc-2.39"]}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestScanWithoutRoot(t *testing.T) {
	s := applicationStore(t)
	// A store elsewhere: the logical directory is the real one.
	dir := s.root + DefaultStoreDir
	root := s.root + s.paths["openssl-3.0.14"]
	nodes, err := Scan(context.Background(), ScanOptions{StoreDir: dir, Roots: []string{root}})
	if err != nil || len(nodes) != 2 {
		t.Fatalf("%v, %v", nodes, err)
	}
	for _, n := range nodes {
		if filepath.Dir(n.Path) != dir {
			t.Errorf("path %q is not in %q", n.Path, dir)
		}
	}
}

// TestHashStoreNames: the archive has the names without the suffix that Nix gives
// them on macOS, in the order of the names without it.
func TestHashStoreNames(t *testing.T) {
	sums := map[string]bool{}
	for _, suffix := range []string{"", "~nix~case~hack~1"} {
		s := newTinyStore(t, "app")
		for _, name := range []string{"README" + suffix, "Readme", "Dir" + suffix + "/x", "dir/x"} {
			s.write("app/"+name, name[:1])
		}
		infos, err := HashPaths(t.Context(), ScanOptions{Root: s.root, Roots: []string{s.paths["app"]}})
		if err != nil {
			t.Fatal(err)
		}
		sums[fmt.Sprint(infos[0].NarSize, infos[0].NarHash)] = true
	}
	if len(sums) != 1 {
		t.Errorf("with suffix and without: %v", sums)
	}
	s := newTinyStore(t, "app")
	s.write("app/a", "")
	s.write("app/a~nix~case~hack~2", "")
	_, err := HashPaths(t.Context(), ScanOptions{Root: s.root, Roots: []string{s.paths["app"]}})
	wantError(t, err, "-app", `"a~nix~case~hack~2" is another file's name`)
}
