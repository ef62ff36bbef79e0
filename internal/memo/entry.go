package memo

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/atomicfile"
	"github.com/varve-image/varve/internal/owner"
)

// maxEntry limits an entry, in bytes. What is larger belongs into the contents.
const maxEntry = 256 << 20

// magic begins each entry; the checksum of kind, key and data follows, in hexadecimal digits.
const magic = "varve memo 1 "

// headSize is the size of an entry's first line.
const headSize = len(magic) + 2*sha256.Size + 1

// racy is how long ago a file has to have been changed, when it is read, for its stamp to tell it
// from what it becomes if it is changed again: clocks of file systems are coarse, that of FAT by two
// seconds.
const racy = 2 * time.Second

// head returns the first line of an entry.
func head(kind Kind, key digest.Digest, data []byte) string {
	sum := sha256.New()
	fmt.Fprintf(sum, "%s %s\n", kind, key)
	sum.Write(data)
	return magic + hex.EncodeToString(sum.Sum(nil)) + "\n"
}

// at returns the directory and the name of an entry in the memo's directory.
func at(kind Kind, key digest.Digest) (dir, name string) {
	return string(kind), path.Join(string(kind), key.Encoded())
}

// Get returns what was kept under a key, a SHA-256, and notes that it was used.
func (m *Memo) Get(kind Kind, key digest.Digest) ([]byte, bool) {
	if m == nil {
		return nil, false
	}
	dir, name := at(kind, key)
	if !m.ours(dir) {
		return nil, false
	}
	f, err := m.open(name, maxEntry)
	if err != nil {
		return nil, false
	}
	defer f.Close()
	data, err := read(f, kind, key)
	if err != nil {
		return nil, false
	}
	touch(f)
	return data, true
}

// open opens a file of the memo's if it is a regular one that this user or root has made, and
// nobody else can write to.
func (m *Memo) open(name string, most int64) (*os.File, error) {
	f, err := m.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = errors.New("not a regular file")
	case !owner.Trusted(info):
		err = fmt.Errorf("it belongs to another user, %d", owner.Of(info))
	case info.Mode().Perm()&0o022 != 0:
		err = errors.New("others can write to it")
	case info.Size() > most:
		err = fmt.Errorf("it has %d bytes, more than %d", info.Size(), most)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// read reads an entry and checks it.
func read(f io.Reader, kind Kind, key digest.Digest) ([]byte, error) {
	all, err := io.ReadAll(io.LimitReader(f, maxEntry+1))
	if err != nil {
		return nil, err
	}
	if len(all) < headSize || len(all) > maxEntry {
		return nil, errors.New("it is cut short or too long")
	}
	data := all[headSize:]
	if !bytes.Equal(all[:headSize], []byte(head(kind, key, data))) {
		return nil, errors.New("it is damaged, or the entry of another key")
	}
	return data, nil
}

// touch notes that a file was used: what was not used for long goes first.
func touch(f *os.File) {
	_ = unix.Futimes(int(f.Fd()), nil) // otherwise it goes earlier
}

// Put keeps data under a key, a SHA-256. changed is when the last of the files was changed whose
// stamps the key stands for, in nanoseconds since 1970, or 0 for none. If that was less than two
// seconds before the memo was opened, by the file system's clock, nothing is kept: the file may have
// been changed again after it was read and have the same stamp, however long ago that is by now. The
// memo has to be opened before such files are read.
func (m *Memo) Put(kind Kind, key digest.Digest, data []byte, changed int64) {
	if m == nil || len(data) > maxEntry-headSize {
		return
	}
	if err := m.put(kind, key, data, changed); err != nil {
		m.fail(err)
	}
}

func (m *Memo) put(kind Kind, key digest.Digest, data []byte, changed int64) error {
	dir, name := at(kind, key)
	if err := m.makeDir(dir); err != nil {
		return err
	}
	f, err := atomicfile.CreateIn(m.root, name)
	if err != nil {
		return err
	}
	defer f.Abort()
	if err := f.Chmod(0o600); err != nil {
		return err
	}
	if _, err := f.Write(append([]byte(head(kind, key, data)), data...)); err != nil {
		return err
	}
	if !m.settled(changed) || changed != 0 && m.setBack(f.File) {
		return nil
	}
	m.noteKept()
	return f.CommitUnsynced(key.Encoded())
}

// setBack reports whether the clock says that a new file is older than the memo's opening: then it
// does not tell either when others were changed.
func (m *Memo) setBack(f *os.File) bool {
	info, err := f.Stat()
	return err != nil || info.ModTime().Before(m.began)
}

// settled reports whether files of which the last was changed at changed, in nanoseconds since
// 1970 or 0 for none, had not just been changed when the memo was opened: they are read later.
func (m *Memo) settled(changed int64) bool {
	return changed == 0 || m.began.Sub(time.Unix(0, changed)) >= racy
}

// Settled reports whether Put would keep something of files of which the last was changed at
// changed, in nanoseconds since 1970 or 0 for none.
func (m *Memo) Settled(changed int64) bool {
	if m == nil || m.began.IsZero() {
		return false
	}
	if err := m.makeDir(string(Steps)); err != nil {
		m.fail(err)
		return false
	}
	return m.settled(changed)
}
