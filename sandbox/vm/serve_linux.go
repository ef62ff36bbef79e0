//go:build amd64

package vm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// fileServer shows directories of the host to a guest, which is hostile: it
// sees what is in them and nothing else, and only regular files are opened.
type fileServer struct {
	port   io.ReadWriter
	frames *frameWriter
	// roots are the shared directories.
	roots []*os.File
	// open is the file that was read last, which is most often the next too.
	open     *os.File
	openPath question
}

func newFileServer(port io.ReadWriter, shares []share) (*fileServer, error) {
	s := &fileServer{port: port, frames: &frameWriter{w: port}}
	for _, share := range shares {
		f, err := os.OpenFile(share.source, unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			s.close()
			return nil, err
		}
		s.roots = append(s.roots, f)
	}
	return s, nil
}

func (s *fileServer) close() {
	if s.open != nil {
		s.open.Close()
	}
	for _, f := range s.roots {
		f.Close()
	}
}

// serve answers until the port is closed or what comes makes no sense.
func (s *fileServer) serve() error {
	defer s.close()
	buf := make([]byte, maxFrame)
	for {
		kind, data, err := readFrame(s.port, buf)
		if errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		if err != nil {
			return err
		}
		var q question
		if err := json.Unmarshal(data, &q); err != nil || kind != frameAsk || q.Share < 0 || q.Share >= len(s.roots) {
			return fmt.Errorf("a guest asked for %.100q, which makes no sense", data)
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

func (s *fileServer) answer(q question) (answer, error) {
	if q.Op == opRead {
		return answer{}, s.read(q)
	}
	f, err := s.find(q, unix.O_PATH)
	if err != nil {
		return answer{}, err
	}
	defer f.Close()
	switch q.Op {
	case opStat:
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil {
			return answer{}, err
		}
		return answer{Mode: st.Mode, Size: st.Size, Mtime: st.Mtim.Sec}, nil
	case opReadLink:
		buf := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(int(f.Fd()), "", buf)
		if err != nil {
			return answer{}, err
		}
		return answer{}, s.frames.write(frameData, buf[:n])
	case opReadDir:
		return answer{}, s.readDir(q)
	}
	return answer{}, syscall.EINVAL
}

// find opens what a question names, following no link: the guest's kernel has
// followed those that are on the way.
func (s *fileServer) find(q question, flags uint64) (*os.File, error) {
	name := q.Path
	if name == "" {
		name = "."
	}
	fd, err := unix.Openat2(int(s.roots[q.Share].Fd()), name, &unix.OpenHow{
		Flags:   flags | unix.O_CLOEXEC | unix.O_NOFOLLOW,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// maxNames bounds the names that are read at once.
const maxNames = 1024

func (s *fileServer) readDir(q question) error {
	f, err := s.find(q, unix.O_RDONLY|unix.O_DIRECTORY)
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

// typeByte is what stands before a name.
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

func (s *fileServer) read(q question) error {
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
	if q.Size < 0 || q.Size > maxRead {
		return syscall.EINVAL
	}
	buf := make([]byte, q.Size)
	n, err := s.open.ReadAt(buf, q.Offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	_, err = stream{s.frames, frameData}.Write(buf[:n])
	return err
}

// maxRead bounds what is read at once.
const maxRead = 1 << 20

// openRegular opens a regular file; to open anything else may do something.
func (s *fileServer) openRegular(q question) (*os.File, error) {
	f, err := s.find(q, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = syscall.EACCES
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
