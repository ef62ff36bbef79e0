package cmdline

import (
	"context"
	"fmt"
	"io"
	"os"
)

// Stdin is standard input, which can be read once.
type Stdin struct {
	In   io.Reader
	what string // it is read as
}

// Take claims standard input for one purpose. A second claim is an error.
func (s *Stdin) Take(what string) (io.Reader, error) {
	if s.what != "" {
		return nil, Usage(fmt.Errorf("standard input is %s already and cannot be %s too: name a file", s.what, what))
	}
	s.what = what
	return s.In, nil
}

// interruptible is standard input; once ctx is done, a reader no longer waits for input
// that does not come.
type interruptible struct {
	ctx context.Context
	r   io.Reader
}

// Read reads in the background. After an interruption the read goes on until input
// comes or the process ends, and that input is lost.
func (s *interruptible) Read(p []byte) (int, error) {
	type result struct {
		data []byte
		err  error
	}
	done := make(chan result, 1)
	buf := make([]byte, len(p))
	go func() {
		n, err := s.r.Read(buf)
		done <- result{buf[:n], err}
	}()
	select {
	case got := <-done:
		return copy(p, got.data), got.err
	case <-s.ctx.Done():
		return 0, s.ctx.Err()
	}
}

// Stdout is standard output. Its errors are explained.
type Stdout struct{ W io.Writer }

func (s Stdout) Write(p []byte) (int, error) {
	n, err := s.W.Write(p)
	return n, OutputError(err)
}

// File returns the file that standard output is, or nil: the kernel can copy to it what files have.
func (s Stdout) File() *os.File {
	f, _ := s.W.(*os.File)
	return f
}

// Copied is told how much the kernel has copied.
func (s Stdout) Copied(int64) {}
