package nixstate

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/varve-image/varve/internal/ctxio"
	"github.com/varve-image/varve/tree"
)

// The names in the state directory.
const (
	dbDir       = "db"
	dbName      = dbDir + "/db.sqlite"
	journalName = dbName + "-wal"
	sharedName  = dbName + "-shm"
	undoName    = dbName + "-journal"
	schemaName  = dbDir + "/schema"
	rootsDir    = "gcroots/docker"
)

const (
	// MaxFile limits the database of a base image, and its journal, in bytes: some
	// 100,000 paths.
	MaxFile = 128 << 20
	// maxSchema limits the file that holds the schema's version.
	maxSchema = 64
)

// StateDir returns the directory of Nix's state for a store: /nix/var/nix for /nix/store.
func StateDir(storeDir string) string { return path.Join(path.Dir(storeDir), "var/nix") }

// DatabaseFile returns the path of a store's database.
func DatabaseFile(storeDir string) string { return StateDir(storeDir) + "/" + dbName }

// Place returns the path of the store's database in a tree.
func Place(storeDir string) string { return strings.TrimPrefix(StateDir(storeDir), "/") + "/" + dbName }

// State describes the state that State.Tree makes a tree of.
type State struct {
	StoreDir string
	// Database is the content of db/db.sqlite.
	Database *File
	// Roots are the store paths that the garbage collector is to keep, with
	// everything they refer to.
	Roots []string
	// UID and GID own everything.
	UID, GID uint32
	// Below is the file system that the tree is put on.
	Below []*tree.Entry
}

// Tree returns the files that a store needs so that Nix can work with it:
//
//   - in the state directory, the database and its version, the directories
//     that Nix expects, and a link to each root in gcroots/docker, as
//     dockerTools has them;
//   - .links in the store directory, for "nix-store --optimise".
//
// If Below's database had a journal beside it, an empty one replaces that. Files
// that Nix makes for itself (locks, the reserved space) are left to it. Source
// names the entries' origin in messages.
func (s State) Tree(source string) ([]*tree.Entry, error) {
	state := strings.TrimPrefix(StateDir(s.StoreDir), "/")
	at := func(name string) string { return state + "/" + name }
	entries := []*tree.Entry{
		tree.NewImpliedDir(strings.TrimPrefix(s.StoreDir, "/") + "/.links"),
		tree.NewImpliedDir(at(rootsDir)), tree.NewImpliedDir(at("profiles")), tree.NewImpliedDir(at("temproots")),
		tree.NewSymlink(at("gcroots/profiles"), "/"+at("profiles")),
		{Path: at(dbName), Type: tree.Regular, Mode: 0o644, Size: s.Database.Size(), Content: s.Database},
		tree.NewFile(at(schemaName), 0o644, SchemaVersion),
	}
	for _, name := range []string{journalName, sharedName} {
		if tree.Lookup(s.Below, at(name)) != nil {
			entries = append(entries, tree.NewFile(at(name), 0o644, ""))
		}
	}
	for _, root := range s.Roots {
		entries = append(entries, tree.NewSymlink(at(rootsDir)+"/"+path.Base(root), root))
	}
	entries, err := tree.Complete(entries)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		e.UID, e.GID, e.Source = s.UID, s.GID, source
	}
	return entries, nil
}

// ReadTree returns the paths in the database of the store in an image's file
// system, sorted. paths are nil if the file system has no database.
func ReadTree(ctx context.Context, db Databases, storeDir string, entries []*tree.Entry) ([]Path, error) {
	state := strings.TrimPrefix(StateDir(storeDir), "/")
	at := func(name string) *tree.Entry { return tree.Lookup(entries, state+"/"+name) }
	if at(dbName) == nil {
		return nil, nil
	}
	if e := at(undoName); e != nil && e.Size > 0 {
		return nil, fmt.Errorf("read Nix database %q: a change of it was not finished (%q): open it once with Nix", "/"+at(dbName).Path, "/"+e.Path)
	}
	version, err := content(ctx, at(schemaName), maxSchema)
	if version = bytes.TrimSpace(version); err == nil && len(version) > 0 && string(version) != SchemaVersion {
		err = fmt.Errorf("its schema is version %q, and varve knows version %s: open it once with a newer Nix", version, SchemaVersion)
	}
	var data, journal []byte
	if err == nil {
		data, err = content(ctx, at(dbName), MaxFile)
	}
	if err == nil {
		journal, err = content(ctx, at(journalName), MaxFile)
	}
	if err == nil {
		var paths []Path
		if paths, err = db.Read(ctx, storeDir, data, journal); err == nil {
			return paths, nil
		}
	}
	return nil, fmt.Errorf("read Nix database %q: %w", "/"+at(dbName).Path, err)
}

// content reads a file of up to most bytes; nil means no file.
func content(ctx context.Context, e *tree.Entry, most int64) ([]byte, error) {
	switch {
	case e == nil:
		return nil, nil
	case e.Type != tree.Regular:
		return nil, fmt.Errorf("%q is a %s", "/"+e.Path, e.Type)
	case e.Size > most:
		return nil, fmt.Errorf("%q has %d bytes, more than %d", "/"+e.Path, e.Size, most)
	}
	r, err := e.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data := make([]byte, e.Size)
	_, err = io.ReadFull(ctxio.Reader(ctx, r), data)
	return data, err
}
