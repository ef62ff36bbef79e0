package tree

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// SmallFile is the largest size of a file that is worth reading together with others.
const SmallFile = 64 << 10

// openAtOnce is how many files a FileReader opens before it closes them.
const openAtOnce = 64

// FileReader reads the contents of files, for one or several goroutines at once. It takes fewer
// system calls than opening and reading small files on disk one after the other: several are
// opened, read, and then closed together.
type FileReader struct {
	// Unchecked says that the caller notices by itself, by a digest for example, if a file was
	// changed since FromDir looked at it. Only one that has another length is an error then.
	Unchecked bool
	// Other is set if another file was read than an entry's stamp speaks for: see File.Is. Without a
	// check nobody knows.
	Other atomic.Bool

	// opening is held while files are opened: descriptors in a row are closed with one call.
	opening sync.Mutex
}

// Append appends the contents of regular files to buf, in their order. Like opening and reading
// each to its end, it fails if one is not as long as its entry says.
func (r *FileReader) Append(buf []byte, files []*Entry) ([]byte, error) {
	for len(files) > 0 {
		n, err := 0, error(nil)
		if onDisk(files[0]) != nil {
			n, buf, err = r.appendOnDisk(buf, files[:min(len(files), openAtOnce)])
		} else {
			n = 1
			buf, err = appendContent(buf, files[0])
		}
		if err != nil {
			return nil, err
		}
		files = files[n:]
	}
	return buf, nil
}

// onDisk returns where the content of an entry is on disk, or nil.
func onDisk(e *Entry) *diskFile {
	if d, ok := e.Content.(*diskFile); ok && d.size == e.Size {
		return d
	}
	return nil
}

// appendContent appends the content of one file, wherever it is.
func appendContent(buf []byte, e *Entry) ([]byte, error) {
	r, err := e.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	buf = slices.Grow(buf, int(e.Size)+1)
	content := buf[len(buf) : len(buf)+int(e.Size)]
	if n, err := io.ReadFull(r, content); err != nil {
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			err = fmt.Errorf("%q %s: its content ends %d bytes early", e.Path, from(e), len(content)-n)
		}
		return nil, err
	}
	switch n, err := r.Read(buf[len(buf)+len(content) : cap(buf)][:1]); {
	case n > 0:
		return nil, fmt.Errorf("%q %s: it has more than the %d bytes that it had before", e.Path, from(e), e.Size)
	case err != nil && err != io.EOF:
		return nil, err
	}
	return buf[:len(buf)+len(content)], nil
}

// appendOnDisk appends the contents of some of the files, at least of one, and returns of how
// many. It stops before one that is not on disk.
func (r *FileReader) appendOnDisk(buf []byte, files []*Entry) (int, []byte, error) {
	var all [openAtOnce]int
	r.opening.Lock()
	fds, err := openFiles(files, all[:0])
	r.opening.Unlock()
	if len(fds) == 0 {
		return 0, nil, err
	}
	// An error after that may be a limit of descriptors, or is there again the next time.
	defer closeFiles(fds)
	for i, fd := range fds {
		d := onDisk(files[i])
		buf = slices.Grow(buf, int(d.size)+1)
		grown := false
		for left := d.size; left > 0; {
			// Another byte shows that the file has grown.
			n, err := d.read(fd, buf[len(buf):len(buf)+int(left)+1], left)
			if err != nil {
				return 0, nil, err
			}
			grown = int64(n) > left
			n = int(min(int64(n), left))
			buf, left = buf[:len(buf)+n], left-int64(n)
		}
		if grown || !r.Unchecked {
			found, err := d.check(fd)
			if err != nil {
				return 0, nil, err
			}
			if !files[i].Stamp.speaksFor(found) {
				r.Other.Store(true)
			}
		}
	}
	return len(fds), buf, nil
}

// openFiles opens the first files, as far as they are on disk and can be opened.
func openFiles(files []*Entry, fds []int) ([]int, error) {
	var in *directory
	defer func() {
		if in != nil {
			in.release()
		}
	}()
	for _, e := range files {
		d := onDisk(e)
		if d == nil {
			return fds, nil
		}
		if in != d.dir {
			if _, err := d.dir.acquire(); err != nil {
				return fds, &ReadError{d.source(), err}
			}
			if in != nil {
				in.release()
			}
			in = d.dir
		}
		fd, err := openAt(in.fd, d.name, openFile)
		if err != nil {
			return fds, &ReadError{d.source(), err}
		}
		fds = append(fds, fd)
	}
	return fds, nil
}

// closeFiles closes files that were only read.
func closeFiles(fds []int) {
	slices.Sort(fds)
	for len(fds) > 0 {
		n := 1
		for n < len(fds) && fds[n] == fds[0]+n {
			n++
		}
		// All of the range is ours, so nobody else can have opened something in it.
		if n == 1 || closeRange(fds[0], fds[n-1]) != nil {
			for _, fd := range fds[:n] {
				_ = unix.Close(fd)
			}
		}
		fds = fds[n:]
	}
}
