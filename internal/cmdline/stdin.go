package cmdline

import (
	"context"
	"fmt"
	"io"
)

// Claim records the purpose that standard input is read for: it can be read once.
type Claim struct{ what string }

// Take claims standard input for one purpose. A second claim is an error.
func (c *Claim) Take(what string) error {
	if c.what != "" {
		return Usage(fmt.Errorf("standard input is %s already and cannot be %s too: name a file", c.what, what))
	}
	c.what = what
	return nil
}

// stdin is standard input; once ctx is done, a reader no longer waits for input
// that does not come.
type stdin struct {
	ctx context.Context
	r   io.Reader
}

// Read reads in the background. After an interruption the read goes on until input
// comes or the process ends, and that input is lost.
func (s *stdin) Read(p []byte) (int, error) {
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
