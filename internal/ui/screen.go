package ui

import (
	"io"
	"strconv"
	"sync"
)

// screen is the error stream. Each Write reaches it in one piece, above the
// bar if there is one.
type screen struct {
	mu    sync.Mutex
	out   io.Writer
	frame []byte // the bar as it is in the last lines, or empty
	lines int    // the number of these lines
}

// Write writes whole lines.
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lines == 0 {
		return s.out.Write(p)
	}
	b := append(s.toTop(), p...)
	if _, err := s.out.Write(append(b, s.frame...)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// draw replaces the bar with one of that many lines, each with its newline; an
// empty frame removes it.
func (s *screen) draw(frame []byte, lines int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := append(s.toTop(), frame...)
	s.frame = append(s.frame[:0], frame...)
	s.lines = lines
	if len(b) == 0 {
		return nil
	}
	_, err := s.out.Write(b)
	return err
}

// toTop returns the sequence that moves the cursor to the first line of the bar and
// erases from there on (ECMA-48 CUU and ED).
func (s *screen) toTop() []byte {
	if s.lines == 0 {
		return nil
	}
	return append(strconv.AppendInt([]byte("\x1b["), int64(s.lines), 10), "A\x1b[J"...)
}
