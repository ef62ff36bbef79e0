package nixdb

import (
	"database/sql"
	"fmt"
	"github.com/varve-image/varve/internal/nixstore/nixstate"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/varve-image/varve/tree"
)

// onDisk makes a database in a directory with statements and returns its file
// and its journal as they are while it is open.
func onDisk(t testing.TB, data []byte, statements ...string) (file, journal []byte) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "db.sqlite")
	if data != nil {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	db, err := sql.Open("sqlite", name)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	if file, err = os.ReadFile(name); err != nil {
		t.Fatal(err)
	}
	if journal, err = os.ReadFile(name + "-wal"); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return file, journal
}

// TestReadJournal: what a crash left in the write-ahead log counts as far as it was
// committed; SQLite itself writes the journal.
func TestReadJournal(t *testing.T) {
	paths := somePaths(300)
	var statements []string
	statements = append(statements, "pragma wal_autocheckpoint = 0")
	for i, p := range somePaths(400) {
		if i%2 == 0 {
			statements = append(statements, fmt.Sprintf("update ValidPaths set registrationTime = %d where path = '%s'", i, p.Path))
		}
	}
	file, journal := onDisk(t, write(t, paths), statements...)
	if len(journal) == 0 {
		t.Fatal("there is no journal")
	}
	sum := func(journal []byte) (sum int64) {
		got, err := decode(t.Context(), "/nix/store", append([]byte(nil), file...), journal)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range got {
			sum += p.RegistrationTime
		}
		return sum
	}
	before, after := sum(nil), sum(journal)
	if before != 300 || after <= before {
		t.Errorf("times sum to %d without the journal and to %d with it", before, after)
	}
	cut := sum(journal[:len(journal)-100])
	if cut <= before || cut >= after {
		t.Errorf("times sum to %d with a journal that is cut, want something between %d and %d", cut, before, after)
	}
	broken := append([]byte(nil), journal...)
	broken[40]++
	if got := sum(broken); got != before {
		t.Errorf("times sum to %d with a journal whose first frame is broken, want %d", got, before)
	}
}

// TestReadRefuses: databases that Nix would not have written are refused.
func TestReadRefuses(t *testing.T) {
	good := write(t, somePaths(3))
	change := func(statements ...string) []byte {
		file, _ := onDisk(t, good, append([]string{"pragma journal_mode = delete", "pragma foreign_keys = off"}, statements...)...)
		return file
	}
	cut := append([]byte(nil), good[:len(good)-4096]...)
	garbled := append([]byte(nil), good...)
	for i := 4096; i < len(garbled); i++ {
		garbled[i] ^= 0x55
	}
	for _, tt := range []struct {
		name string
		data []byte
		want string
	}{
		{"nothing", nil, "not an SQLite database"},
		{"text", []byte(strings.Repeat("text", 200)), "not an SQLite database"},
		{"cut", cut, "malformed"},
		{"garbled", garbled, "malformed"},
		{"no tables", change("drop table Refs", "drop table DerivationOutputs"), "no table Refs\nthere is no table DerivationOutputs"},
		{"no column", change("alter table ValidPaths rename column ca to cb"), "ValidPaths has no column ca"},
		{"view", change("drop table Refs", "create view Refs as with recursive c(x) as (select 1 union all select x from c) select x as referrer, x as reference from c"),
			`Refs is a "view"`},
		{"computed column", change("drop table DerivationOutputs", "create table DerivationOutputs (drv integer, id text, path text as (hex(zeroblob(1000000))))"),
			"DerivationOutputs has no column path of its own"},
		{"not in the store", change("update ValidPaths set path = '/etc/passwd' where id = 1"), `"/etc/passwd" is not in the store`},
		{"escape", change("update ValidPaths set path = '/nix/store/../../etc/' || char(27) where id = 1"), `\x1b`},
		{"twice", change("create table v as select * from ValidPaths", "drop table ValidPaths", "alter table v rename to ValidPaths",
			"insert into ValidPaths select * from ValidPaths"), "there twice"},
		{"hash", change("update ValidPaths set hash = 'sha256:1234'"), `its hash: "sha256:1234"`},
		{"size", change("update ValidPaths set narSize = -1"), "narSize is -1"},
		{"id", change("create table v as select * from ValidPaths", "drop table ValidPaths", "alter table v rename to ValidPaths",
			"update ValidPaths set id = 'x'"), `converting`},
		{"deriver", change("update ValidPaths set deriver = 'x'"), "deriver"},
		{"content address", change("update ValidPaths set ca = 'fixed:r:sha256:x' where id = 2"), `package-2": "fixed:r:sha256:x" is not a content address`},
		{"signature", change("update ValidPaths set sigs = 'key' where id = 2"), `package-2": signature "key"`},
		{"too long", change("update ValidPaths set sigs = hex(zeroblob(700000))"), "too big"},
		{"dangling reference", change("insert into Refs values (1, 77)"), "package-1\": a reference to path number 77"},
		{"dangling output", change("insert into DerivationOutputs values (77, 'out', '/nix/store/x')"), `output "out" of path number 77`},
		{"output outside", change("insert into DerivationOutputs values (3, 'x', '/nix/store/x')"), `output "x": "/nix/store/x" is not a store path`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			paths, err := decode(t.Context(), "/nix/store", tt.data, nil)
			if err == nil || !strings.Contains(err.Error(), tt.want) || paths != nil {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestReadTree(t *testing.T) {
	paths := somePaths(3)
	db, err := Create(t.Context(), t.TempDir(), paths)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	state := func() []*tree.Entry {
		entries, err := State{StoreDir: "/nix/store", Database: db}.Tree("")
		if err != nil {
			t.Fatal(err)
		}
		return entries
	}
	got, err := ReadTree(t.Context(), "/nix/store", state())
	if err != nil || !reflect.DeepEqual(got, paths) {
		t.Errorf("got %d paths and error %v, want those of the database", len(got), err)
	}
	if got, err := ReadTree(t.Context(), "/gnu/store", state()); got != nil || err != nil {
		t.Errorf("got %v and error %v where there is no database", got, err)
	}
	for name, tt := range map[string]struct {
		change func(at func(string) *tree.Entry)
		want   string
	}{
		"schema":  {func(at func(string) *tree.Entry) { *at("schema") = *tree.NewFile(at("schema").Path, 0o644, "7") }, `version "7"`},
		"symlink": {func(at func(string) *tree.Entry) { at("db.sqlite").Type = tree.Symlink }, "db.sqlite\" is a symlink"},
		"large":   {func(at func(string) *tree.Entry) { at("db.sqlite").Size = nixstate.MaxFile + 1 }, "more than 134217728"},
	} {
		entries := state()
		tt.change(func(name string) *tree.Entry { return tree.Find(entries, "nix/var/nix/db/"+name) })
		if _, err := ReadTree(t.Context(), "/nix/store", entries); err == nil ||
			!strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), `"/nix/var/nix/db/db.sqlite"`) {
			t.Errorf("%s: error %v, want one with %q", name, err, tt.want)
		}
	}
}

// FuzzRead: any file is read, or refused, in limited time.
func FuzzRead(f *testing.F) {
	good := write(f, somePaths(5))
	file, journal := onDisk(f, good, "pragma wal_autocheckpoint = 0", "update ValidPaths set narSize = 7")
	f.Add(good, []byte(nil))
	f.Add(file, journal)
	f.Add(good[:4096], journal[:100])
	f.Fuzz(func(t *testing.T, data, journal []byte) {
		paths, err := decode(t.Context(), "/nix/store", data, journal)
		if err != nil {
			return
		}
		write(t, paths)
	})
}
