//go:build amd64 || arm64

package worktree

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox/userns/fakeroot"
)

// extractor unpacks a tree that comes as a tar: canonical, complete, each directory before
// its content.
type extractor struct {
	root int
	// dirs are the open directories that lead to the current entry.
	dirs []extractDir
	// records are what is not on disk.
	records *fakeroot.Records
	// was is the root of what was unpacked, to compare with later.
	was *Original
	// latest is the time of the last change, in nanoseconds.
	latest int64
	buf    []byte
}

type extractDir struct {
	name  string
	fd    int
	mtime int64
	was   *Original
}

// note notes the state of the open file fd, or of its entry name.
func (x *extractor) note(o *Original, fd int, name string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(fd, name, &st, unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	o.ino, o.ctime = st.Ino, st.Ctim.Nano()
	x.latest = max(x.latest, o.ctime)
	return nil
}

// Extract unpacks a tar into an empty directory, and returns its content. Whatever is
// changed later has another time. What cannot be on disk is put into the records.
func Extract(dir int, t io.Reader, r *fakeroot.Records) (*Original, error) {
	x := &extractor{root: dir, records: r, was: &Original{}}
	if err := x.extract(t); err != nil {
		return nil, err
	}
	return x.was, laterThan(x.latest)
}

// extract unpacks the tar into root, which is empty. It goes through directories that it
// made and has open, so that names cannot lead anywhere else.
func (x *extractor) extract(r io.Reader) (err error) {
	x.buf = make([]byte, 128<<10)
	defer func() {
		if leaveErr := x.leave(""); err == nil {
			err = leaveErr
		}
	}()
	t := tar.NewReader(bufio.NewReaderSize(r, 1<<20))
	for {
		hdr, err := t.Next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = x.entry(hdr, t)
		}
		if err != nil {
			return fmt.Errorf("unpack the tree: %w", err)
		}
	}
	// What follows the end of the tar is read, so that its writer can end.
	_, err = io.Copy(io.Discard, r)
	return err
}

func (x *extractor) entry(hdr *tar.Header, content io.Reader) error {
	name := path.Clean(hdr.Name)
	if name == "." {
		fd, err := unix.Openat(x.root, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		x.dirs = append(x.dirs, extractDir{".", fd, hdr.ModTime.Unix(), x.was})
		return x.attributes(fd, "", hdr)
	}
	dir, base := path.Split(name)
	parent, err := x.enter(path.Clean(dir))
	if err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	was := parent.was.child(base)
	err = x.make(parent.fd, base, name, hdr, content, was)
	if err == nil && hdr.Typeflag != tar.TypeDir {
		err = x.note(was, parent.fd, base)
	}
	if err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	return nil
}

// enter returns the open directory called name, and leaves directories that do not lead to
// it.
func (x *extractor) enter(name string) (extractDir, error) {
	if err := x.leave(name); err != nil {
		return extractDir{}, err
	}
	if len(x.dirs) == 0 || x.dirs[len(x.dirs)-1].name != name {
		return extractDir{}, errors.New("its directory is not there")
	}
	return x.dirs[len(x.dirs)-1], nil
}

// leave closes the directories that do not lead to name, and sets their times, now that
// they are complete.
func (x *extractor) leave(name string) error {
	for i, d := range slices.Backward(x.dirs) {
		if name == d.name || name != "" && d.name == "." || strings.HasPrefix(name, d.name+"/") {
			return nil
		}
		err := unix.Futimes(d.fd, times(d.mtime))
		if err == nil {
			err = x.note(d.was, d.fd, "")
		}
		unix.Close(d.fd)
		if x.dirs = x.dirs[:i]; err != nil {
			return fmt.Errorf("%q: %w", d.name, err)
		}
	}
	return nil
}

func times(seconds int64) []unix.Timeval { return []unix.Timeval{{Sec: seconds}, {Sec: seconds}} }

func (x *extractor) make(parent int, base, name string, hdr *tar.Header, content io.Reader, was *Original) error {
	switch hdr.Typeflag {
	case tar.TypeDir:
		if err := unix.Mkdirat(parent, base, 0o700); err != nil {
			return err
		}
		fd, err := unix.Openat(parent, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		x.dirs = append(x.dirs, extractDir{name, fd, hdr.ModTime.Unix(), was})
		return x.attributes(fd, "", hdr)
	case tar.TypeReg:
		return x.file(parent, base, hdr, content)
	case tar.TypeSymlink:
		if err := unix.Symlinkat(hdr.Linkname, parent, base); err != nil {
			return err
		}
	case tar.TypeFifo:
		if err := unix.Mknodat(parent, base, unix.S_IFIFO|0o600, 0); err != nil {
			return err
		}
	case tar.TypeChar, tar.TypeBlock:
		// Only the kernel's root can make devices.
		return x.file(parent, base, hdr, strings.NewReader(""))
	default:
		return fmt.Errorf("unexpected type %q", hdr.Typeflag)
	}
	return x.attributes(parent, base, hdr)
}

func (x *extractor) file(parent int, base string, hdr *tar.Header, content io.Reader) error {
	fd, err := unix.Openat(parent, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), base)
	defer f.Close()
	// The wrappers make the copy go through our buffer.
	if _, err := io.CopyBuffer(struct{ io.Writer }{f}, struct{ io.Reader }{content}, x.buf); err != nil {
		return err
	}
	if err := x.attributes(fd, "", hdr); err != nil {
		return err
	}
	return unix.Futimes(fd, times(hdr.ModTime.Unix()))
}

// attributes sets the mode of the open file fd, or of what is called name in the
// directory fd, and records the rest.
func (x *extractor) attributes(fd int, name string, hdr *tar.Header) error {
	mode := uint32(hdr.Mode) & 0o1777
	if name == "" {
		if err := unix.Fchmod(fd, mode); err != nil {
			return fmt.Errorf("set its mode to %#o: %w", mode, err)
		}
		return x.records.Unpacked(fd, hdr)
	}
	// A symlink or a FIFO.
	file, err := unix.Openat(fd, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(file)
	if err := x.records.Unpacked(file, hdr); err != nil {
		return err
	}
	if hdr.Typeflag != tar.TypeSymlink {
		if err := unix.Fchmodat(fd, name, mode, 0); err != nil {
			return err
		}
	}
	at := unix.Timespec{Sec: hdr.ModTime.Unix()}
	return unix.UtimesNanoAt(fd, name, []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW)
}

// laterThan waits until a file that is changed gets another time than nanoseconds: the
// clock that the kernel uses for files has ticks.
func laterThan(nanoseconds int64) error {
	for {
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &now); err != nil || now.Nano() != nanoseconds {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}
