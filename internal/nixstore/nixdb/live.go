package nixdb

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/varve-image/varve/internal/atomicfile"
	"github.com/varve-image/varve/internal/ctxio"
	"github.com/varve-image/varve/internal/regfile"
)

// attempts is how often a database that changed while it was read is read in all.
const attempts = 3

// readLive calls read on the database in a file, which other processes may be
// writing to. How it is opened depends on the files beside it:
//
//   - A write-ahead log that others use is shared with them, by SQLite's rules.
//   - A log that nobody uses is left from a crash, or belongs to a copy of a
//     store. SQLite would write its content into the database, so it is given a
//     copy of both.
//   - Without a log the database is opened as immutable. SQLite would otherwise
//     make a log beside it, which fails in a directory it may not write to and is
//     left behind in any other.
//
// Where SQLite does not guarantee that nothing changed, it is checked afterwards.
func readLive(ctx context.Context, name, temp string, read func(*memory) error) error {
	name, err := filepath.Abs(name)
	if err != nil {
		return err
	}
	for range attempts {
		before, err := look(name)
		if err != nil {
			return err
		}
		switch {
		case !before.logged && before.undo > 0:
			if err = readFile(ctx, name, "mode=ro", read); err != nil {
				err = fmt.Errorf("a change of it was perhaps not finished, then Nix mends it: %w", err)
			}
			return err
		case !before.logged, before.log > 0 && before.shared:
			return readFile(ctx, name, "mode=ro", read)
		case before.log > 0:
			err = readCopy(ctx, name, temp, read)
		default:
			err = readFile(ctx, name, "mode=ro&immutable=1", read)
		}
		after, lookErr := look(name)
		if lookErr != nil {
			return lookErr
		}
		if after == before {
			return err
		}
	}
	return errors.New("it changes while it is read")
}

// appearance describes a database and the files beside it.
type appearance struct {
	size, modTime int64
	// logged says that changes go to a write-ahead log, log is its length in bytes,
	// and shared says that its index exists: others have the database open.
	logged bool
	log    int64
	shared bool
	// undo is the size of the journal of a database without a write-ahead log.
	undo int64
}

func look(name string) (a appearance, err error) {
	f, err := regfile.Open(name)
	if err != nil {
		return a, regfile.Cause(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return a, regfile.Cause(err)
	}
	a.size, a.modTime = info.Size(), info.ModTime().UnixNano()
	head := make([]byte, 100) // the header
	if n, err := io.ReadFull(f, head); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return a, regfile.Cause(err)
	} else if n < len(head) || !bytes.HasPrefix(head, []byte(sqliteMagic)) {
		return a, errors.New("it is not an SQLite database")
	}
	a.logged = head[18] == 2 // the version for writing
	if a.log, err = sizeOf(name + "-wal"); err != nil {
		return a, err
	}
	if a.undo, err = sizeOf(name + "-journal"); err != nil {
		return a, err
	}
	_, err = os.Lstat(name + "-shm")
	a.shared = err == nil
	return a, nil
}

// sizeOf returns a file's size in bytes; 0 if it does not exist.
func sizeOf(name string) (int64, error) {
	info, err := os.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, nil
	case err != nil:
		return 0, regfile.Cause(err)
	case !info.Mode().IsRegular():
		return 0, fmt.Errorf("%q is not a regular file", name)
	}
	return info.Size(), nil
}

// readFile calls read on the database in a file.
func readFile(ctx context.Context, name, options string, read func(*memory) error) (err error) {
	source := url.URL{Scheme: "file", Path: name, RawQuery: options + "&_pragma=busy_timeout(5000)"}
	db, err := sql.Open("sqlite", source.String())
	if err != nil {
		return fmt.Errorf("open SQLite: %w", err)
	}
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	return read(&memory{ctx, db, conn})
}

// readCopy is readFile on a copy of the database and its log.
func readCopy(ctx context.Context, name, temp string, read func(*memory) error) error {
	dir, err := atomicfile.TempDir(temp)
	if err != nil {
		return fmt.Errorf("copy it: %w", err)
	}
	defer dir.Abort()
	const to = "db.sqlite"
	for _, suffix := range []string{"", "-wal"} {
		if err := copyFile(ctx, name+suffix, dir.Root, to+suffix); err != nil {
			return fmt.Errorf("copy it: %w", err)
		}
	}
	return readFile(ctx, filepath.Join(dir.Path(), to), "mode=rw", read)
}

func copyFile(ctx context.Context, from string, dir *os.Root, to string) error {
	in, err := regfile.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := dir.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, ctxio.Reader(ctx, in)); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}
