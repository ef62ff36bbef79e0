package nixdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/varve-image/varve/internal/nixstore"
	"github.com/varve-image/varve/internal/testtools"
)

// storeWith makes a store on disk whose database has the paths, and returns it with
// the database's name.
func storeWith(t testing.TB, paths []Path) (Store, string) {
	t.Helper()
	root := t.TempDir()
	name := filepath.Join(root, "nix/var/nix/db/db.sqlite")
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, write(t, paths), 0o644); err != nil {
		t.Fatal(err)
	}
	return Store{Root: root, TempDir: t.TempDir()}, name
}

// openDB opens a database with SQLite, for writing.
func openDB(t testing.TB, name string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1)
	return db
}

func mustExec(t testing.TB, db *sql.DB, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// infosOf returns what Closure is to return: the closure of roots in paths.
func infosOf(paths []Path, roots ...string) []nixstore.PathInfo {
	byPath := map[string]Path{}
	for _, p := range paths {
		byPath[p.Path] = p
	}
	var infos []nixstore.PathInfo
	seen := map[string]bool{}
	for todo := roots; len(todo) > 0; todo = todo[1:] {
		if p := byPath[todo[0]]; !seen[p.Path] {
			seen[p.Path] = true
			infos = append(infos, p.PathInfo)
			todo = append(slices.Clone(todo), p.References...)
		}
	}
	slices.SortFunc(infos, func(a, b nixstore.PathInfo) int { return strings.Compare(a.Path, b.Path) })
	return infos
}

func wantClosure(t *testing.T, s Store, paths []Path, roots ...string) {
	t.Helper()
	got, err := s.Closure(t.Context(), roots)
	if err != nil {
		t.Fatal(err)
	}
	if want := infosOf(paths, roots...); len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
		t.Errorf("closure of %q is\n%v\nwant\n%v", roots, got, want)
	}
}

// files lists the directory that a file is in, with sizes.
func files(t *testing.T, name string) string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(name))
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, fmt.Sprintf("%s %d", e.Name(), info.Size()))
	}
	return strings.Join(list, ", ")
}

func TestClosure(t *testing.T) {
	paths := somePaths(50)
	s, name := storeWith(t, paths)
	before := files(t, name)
	for _, roots := range [][]string{nil, {paths[3].Path}, {paths[49].Path, paths[7].Path, paths[7].Path}} {
		wantClosure(t, s, paths, roots...)
	}
	var all []string
	for _, p := range paths {
		all = append(all, p.Path)
	}
	wantClosure(t, s, paths, all...)
	if after := files(t, name); after != before {
		t.Errorf("the directory had %s, and has %s", before, after)
	}
}

// TestClosureJournal: the database in each state in which Nix may leave it, read
// from where it can be written to and from where it cannot. Nothing beside it
// changes.
func TestClosureJournal(t *testing.T) {
	for _, state := range []struct {
		name string
		make func(t *testing.T, name string, db *sql.DB)
	}{
		{"closed, with a log", func(t *testing.T, name string, db *sql.DB) {
			mustExec(t, db, "pragma journal_mode = wal", change)
			db.Close()
		}},
		{"open, with a log", func(t *testing.T, name string, db *sql.DB) {
			mustExec(t, db, "pragma journal_mode = wal", "pragma wal_autocheckpoint = 0", change)
		}},
		{"open, with a log that is empty", func(t *testing.T, name string, db *sql.DB) {
			mustExec(t, db, "pragma journal_mode = wal", change, "pragma wal_checkpoint(truncate)")
		}},
		{"crashed, with a log", func(t *testing.T, name string, db *sql.DB) {
			mustExec(t, db, "pragma journal_mode = wal", "pragma wal_autocheckpoint = 0", change)
			copies := map[string][]byte{}
			for _, n := range []string{name, name + "-wal"} {
				data, err := os.ReadFile(n)
				if err != nil {
					t.Fatal(err)
				}
				copies[n] = data
			}
			db.Close()
			for n, data := range copies {
				if err := os.WriteFile(n, data, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}},
		{"closed, without a log", func(t *testing.T, name string, db *sql.DB) {
			mustExec(t, db, "pragma journal_mode = delete", change)
			db.Close()
		}},
		{"open, without a log", func(t *testing.T, name string, db *sql.DB) {
			mustExec(t, db, "pragma journal_mode = delete", change)
		}},
	} {
		t.Run(state.name, func(t *testing.T) {
			paths := somePaths(20)
			s, name := storeWith(t, paths)
			state.make(t, name, openDB(t, name))
			before := files(t, name)
			changed, err := s.Closure(t.Context(), []string{paths[5].Path})
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range changed {
				if p.RegistrationTime != 77 {
					t.Errorf("%s was registered at %d, want what was committed", p.Path, p.RegistrationTime)
				}
			}
			if after := files(t, name); after != before {
				t.Errorf("the directory had %s, and has %s", before, after)
			}
			asOther(t, s, paths[5].Path, len(changed))
			if after := files(t, name); after != before {
				t.Errorf("the directory had %s, and has %s after another user", before, after)
			}
			if left, err := os.ReadDir(s.TempDir); err != nil || len(left) > 0 {
				t.Errorf("left in the directory for temporary files: %v, %v", left, err)
			}
		})
	}
}

// change is made to every path.
const change = "update ValidPaths set registrationTime = 77"

// otherStore tells a process of TestOther what to read.
const otherStore = "VARVE_TEST_STORE"

// asOther reads the closure as a user who may not write to the store.
func asOther(t *testing.T, s Store, path string, want int) {
	t.Helper()
	testtools.NeedRoot(t)
	for dir := s.Root; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(s.Root, "test") // only root can get at the test binary
	if err := os.WriteFile(program, self, 0o755); err != nil {
		t.Fatal(err)
	}
	temp, err := os.MkdirTemp("", "nixdb")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(temp)
	if err := os.Chown(temp, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "-test.run=^TestOther$", "-test.v")
	cmd.Dir = s.Root
	cmd.Env = []string{"TMPDIR=" + temp, fmt.Sprintf("%s=%s %s %d", otherStore, s.Root, path, want)}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "read as another") {
		t.Errorf("as another user: %v\n%s", err, out)
	}
}

// TestOther is the other process of asOther.
func TestOther(t *testing.T) {
	var root, path string
	var want int
	if _, err := fmt.Sscan(os.Getenv(otherStore), &root, &path, &want); err != nil {
		t.Skip("it is run by TestClosureJournal")
	}
	got, err := Store{Root: root}.Closure(t.Context(), []string{path})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range got {
		if p.RegistrationTime != 77 {
			t.Errorf("%s was registered at %d", p.Path, p.RegistrationTime)
		}
	}
	if len(got) != want {
		t.Errorf("%d paths, want %d", len(got), want)
	}
	t.Log("read as another user")
}

func TestClosureRefuses(t *testing.T) {
	paths := somePaths(20)
	root := paths[5].Path
	gone := somePath("gone")
	for _, tt := range []struct {
		name    string
		prepare func(t *testing.T, name string)
		roots   []string
		want    string
	}{
		{"no database", func(t *testing.T, name string) { os.Remove(name) }, []string{root}, "no such file"},
		{"invalid roots", nil, []string{gone, root, "/etc/passwd"}, `2 of the store paths are not valid by the database, such as "` + gone + `"`},
		{"garbage", func(t *testing.T, name string) { os.WriteFile(name, []byte(strings.Repeat("x", 4096)), 0o644) }, []string{root}, "it is not an SQLite database"},
		{"empty", func(t *testing.T, name string) { os.WriteFile(name, nil, 0o644) }, []string{root}, "it is not an SQLite database"},
		{"FIFO", func(t *testing.T, name string) { os.Remove(name); syscall.Mkfifo(name, 0o644) }, []string{root}, "it is a FIFO"},
		{"no tables", func(t *testing.T, name string) {
			mustExec(t, openDB(t, name), "drop table Refs", "drop table ValidPaths")
		}, []string{root}, "there is no table ValidPaths"},
		{"a view", func(t *testing.T, name string) {
			mustExec(t, openDB(t, name), "drop table Refs", "create view Refs as select 1 as referrer, 2 as reference")
		}, []string{root}, `Refs is a "view", not a table`},
		{"dangling", func(t *testing.T, name string) {
			mustExec(t, openDB(t, name), "pragma foreign_keys = off", "insert into Refs select id, 999 from ValidPaths where path = '"+root+"'")
		}, []string{root}, `path "` + root + `": a reference to path number 999, which is not there`},
		{"bad hash", func(t *testing.T, name string) { mustExec(t, openDB(t, name), "update ValidPaths set hash = 'x'") }, []string{root}, `its hash: "x" is not a SHA-256`},
		{"reference outside", func(t *testing.T, name string) {
			mustExec(t, openDB(t, name), "update ValidPaths set path = '/etc/passwd' where id = (select max(reference) from Refs join ValidPaths on referrer = id where path = '"+root+"' and reference <> referrer)")
		}, []string{root}, `"/etc/passwd" is not in the store`},
		{"unfinished", func(t *testing.T, name string) { unfinished(t, name) }, []string{root}, "a change of it was perhaps not finished"},
		{"log is a directory", func(t *testing.T, name string) { os.Mkdir(name+"-wal", 0o755) }, []string{root}, "is not a regular file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, name := storeWith(t, paths)
			if tt.prepare != nil {
				tt.prepare(t, name)
			}
			got, err := s.Closure(t.Context(), tt.roots)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "read Nix database") || got != nil {
				t.Errorf("%v, %v, want %s", got, err, tt.want)
			}
			var invalid *InvalidError
			if errors.As(err, &invalid) != (tt.name == "invalid roots") || errors.Is(err, fs.ErrNotExist) != (tt.name == "no database") {
				t.Errorf("error is %#v", err)
			}
		})
	}
	s, _ := storeWith(t, paths)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Closure(ctx, []string{root}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// unfinished leaves a database as a crash in the middle of a change does.
func unfinished(t *testing.T, name string) {
	t.Helper()
	db := openDB(t, name)
	mustExec(t, db, "pragma journal_mode = delete", "pragma cache_size = 1", "begin", change, "update Refs set reference = reference")
	copies := map[string][]byte{}
	for _, n := range []string{name, name + "-journal"} {
		data, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		copies[n] = data
	}
	mustExec(t, db, "rollback")
	db.Close()
	for n, data := range copies {
		if err := os.WriteFile(n, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// BenchmarkClosure reads a closure of 10,000 paths with ten references each.
func BenchmarkClosure(b *testing.B) {
	paths := somePaths(10_000)
	s, _ := storeWith(b, paths)
	var roots []string
	for _, p := range paths {
		roots = append(roots, p.Path)
	}
	for b.Loop() {
		infos, err := s.Closure(b.Context(), roots)
		if err != nil || len(infos) != len(paths) {
			b.Fatalf("%d paths, %v", len(infos), err)
		}
	}
}

// TestStoreLinks: a database that is reached through symlinks is inside the root,
// or is not read.
func TestStoreLinks(t *testing.T) {
	paths := somePaths(3)
	root := paths[2].Path
	for _, at := range []string{"nix", "nix/var", "nix/var/nix", "nix/var/nix/db", "nix/var/nix/db/db.sqlite"} {
		s, _ := storeWith(t, paths)
		within, outside := filepath.Join(s.Root, "moved"), filepath.Join(t.TempDir(), "other")
		if err := errors.Join(os.Rename(filepath.Join(s.Root, at), within), os.Symlink(within, filepath.Join(s.Root, at))); err != nil {
			t.Fatal(err)
		}
		wantClosure(t, s, paths, root)
		if err := errors.Join(os.Rename(within, outside), os.Symlink(outside, within)); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Closure(t.Context(), []string{root}); err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "out of ") || got != nil {
			t.Errorf("%s: %d paths and error %v of a database elsewhere", at, len(got), err)
		}
	}
}
