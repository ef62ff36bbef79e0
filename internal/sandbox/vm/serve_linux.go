//go:build amd64

package vm

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// fileServer shows files and directories of the host to a guest, which is hostile: it sees
// what is in them and nothing else, only as far as a step in namespaces would, and only
// regular files are opened. The guest can make the server hold no more than one open file.
type fileServer struct {
	port   io.ReadWriter
	frames *frameWriter
	// roots are the shares.
	roots []*os.File
	// open is the file that was read last, which is most often also the next.
	open     *os.File
	openPath question
	// viewer determines the permissions of reading.
	viewer viewer
}

// newFileServer opens the shares.
func newFileServer(port io.ReadWriter, shares []share) (*fileServer, error) {
	s := &fileServer{port: port, frames: &frameWriter{w: port}}
	for _, share := range shares {
		f, err := openShare(share.source)
		if err != nil {
			s.close()
			return nil, err
		}
		s.roots = append(s.roots, f)
	}
	return s, nil
}

// openShare opens a directory or a regular file, and refuses anything else.
func openShare(source string) (*os.File, error) {
	f, err := os.OpenFile(source, unix.O_PATH, 0)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.IsDir() && !st.Mode().IsRegular() {
		err = fmt.Errorf("show %q in a virtual machine: it is neither a directory nor a regular file", source)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (s *fileServer) close() {
	if s.open != nil {
		s.open.Close()
	}
	for _, f := range s.roots {
		f.Close()
	}
}

// serve answers until the port is closed or a question makes no sense. Its thread ends with
// it.
func (s *fileServer) serve() error {
	defer s.close()
	var err error
	if s.viewer, err = lookAsStep(); err != nil {
		return err
	}
	buf := make([]byte, maxFrame)
	for {
		kind, data, err := readFrame(s.port, buf)
		if errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		if err != nil {
			return err
		}
		q, err := decode[question](data)
		if err == nil {
			err = q.check(len(s.roots))
		}
		if err != nil || kind != frameAsk {
			return fmt.Errorf("it asked for a file with a message of kind %q, %.100q, which makes no sense", kind, data)
		}
		a, err := s.answer(q)
		if err != nil {
			a = answer{Errno: errno(err)}
		}
		if err := s.frames.writeJSON(frameAnswer, a); err != nil {
			return err
		}
	}
}

func (s *fileServer) answer(q *question) (answer, error) {
	if q.Op == opRead {
		return answer{}, s.read(q)
	}
	f, err := s.find(q)
	if err != nil {
		return answer{}, err
	}
	defer f.Close()
	switch q.Op {
	case opReadLink:
		buf := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(int(f.Fd()), "", buf)
		if err != nil {
			return answer{}, err
		}
		return answer{}, s.frames.write(frameData, buf[:n])
	case opReadDir:
		return answer{}, s.readDir(f)
	}
	return s.stat(f)
}

// find finds what a question names, without opening it. It follows no links: the guest's
// kernel has followed those on the way.
func (s *fileServer) find(q *question) (*os.File, error) {
	root := int(s.roots[q.Share].Fd())
	var fd int
	var err error
	if q.Path == "" {
		fd, err = unix.FcntlInt(uintptr(root), unix.F_DUPFD_CLOEXEC, 0)
	} else {
		fd, err = unix.Openat2(root, q.Path, &unix.OpenHow{
			Flags:   unix.O_PATH | unix.O_CLOEXEC | unix.O_NOFOLLOW,
			Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
		})
	}
	if err != nil {
		return nil, err
	}
	var st unix.Statfs_t
	if err = unix.Fstatfs(fd, &st); err == nil && st.Type == unix.PROC_SUPER_MAGIC {
		err = syscall.EACCES // there the kernel shows this process more than the step may see
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), q.Path), nil
}

// reopen opens a found file, if it has the expected type: opening any other may have
// effects. It does not matter what is at its path by now.
func reopen(f *os.File, kind uint32, flags int) (*os.File, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != kind {
		return nil, syscall.EACCES
	}
	return os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|flags, 0)
}

func (s *fileServer) stat(f *os.File) (answer, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return answer{}, err
	}
	a := answer{Mode: st.Mode, Device: st.Rdev, Size: st.Size, Mtime: st.Mtim.Sec}
	a.UID, a.GID = s.viewer.owner(st.Uid, st.Gid)
	return a, nil
}

// maxNames limits the names that are read at once.
const maxNames = 1024

func (s *fileServer) readDir(found *os.File) error {
	f, err := reopen(found, unix.S_IFDIR, unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		entries, err := f.ReadDir(maxNames)
		var names []byte
		for _, e := range entries {
			names = append(append(append(names, typeByte(e.Type())), e.Name()...), 0)
			if len(names) > maxFrame-unix.PathMax {
				if err := s.frames.write(frameData, names); err != nil {
					return err
				}
				names = names[:0]
			}
		}
		if len(names) > 0 {
			if err := s.frames.write(frameData, names); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// typeByte returns the byte that precedes a name.
func typeByte(mode fs.FileMode) byte {
	switch {
	case mode.IsDir():
		return 'd'
	case mode&fs.ModeSymlink != 0:
		return 'l'
	case mode.IsRegular():
		return '-'
	}
	return '?'
}

func (s *fileServer) read(q *question) error {
	key := question{Share: q.Share, Path: q.Path}
	if s.open == nil || s.openPath != key {
		f, err := s.openRegular(q)
		if err != nil {
			return err
		}
		if s.open != nil {
			s.open.Close()
		}
		s.open, s.openPath = f, key
	}
	buf := make([]byte, q.Size)
	n, err := s.open.ReadAt(buf, q.Offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	_, err = stream{s.frames, frameData}.Write(buf[:n])
	return err
}

func (s *fileServer) openRegular(q *question) (*os.File, error) {
	f, err := s.find(q)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return reopen(f, unix.S_IFREG, 0)
}
