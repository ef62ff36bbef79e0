package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/varve-image/varve/internal/lack"
)

// past is a deadline that ends a blocked read or write: a command's own children
// may hold its pipes open.
var past = time.Unix(1, 0)

// grace is how long a command may take to end after it was asked to.
const grace = 500 * time.Millisecond

// lastWords is how long a command may take to end after it has closed its input.
const lastWords = 2 * time.Second

// limited keeps the last maxText bytes that are written to it.
type limited struct{ bytes.Buffer }

func (b *limited) Write(p []byte) (int, error) {
	n := len(p)
	if n > maxText {
		p = p[n-maxText:]
	}
	if over := b.Len() + len(p) - maxText; over > 0 {
		b.Next(over)
	}
	b.Buffer.Write(p)
	return n, nil
}

// process is a running command of an engine. It is asked to end when its context
// is done, and killed soon after.
type process struct {
	*exec.Cmd
	stderr limited
}

func newProcess(ctx context.Context, program string, args ...string) *process {
	p := &process{Cmd: exec.CommandContext(ctx, program, args...)}
	p.Stderr = &p.stderr
	p.Cancel = func() error { return p.Process.Signal(syscall.SIGTERM) }
	p.WaitDelay = grace
	return p
}

// exitError is the end of a command that failed.
type exitError struct {
	program string
	code    int
	stderr  string
}

func (e *exitError) Error() string {
	return fmt.Sprintf("%s ends with code %d: %s", e.program, e.code, shown(e.stderr))
}

// failed makes an error from what Wait returned.
func (p *process) failed(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return &exitError{p.Args[0], exit.ExitCode(), p.stderr.String()}
	}
	return err
}

// output runs a command and returns its output, of at most limit bytes.
func output(ctx context.Context, limit int64, program string, args ...string) ([]byte, error) {
	ctx, cancel := question(ctx)
	defer cancel()
	r, err := stream(ctx, program, args...)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s writes more than %d bytes", program, limit)
	}
	return data, err
}

// feed runs a command that reads what write writes, and returns the end of its
// output.
func feed(ctx context.Context, write writeFunc, program string, args ...string) (string, error) {
	watch := newWatch(ctx)
	defer watch.stop()
	p := newProcess(watch.ctx, program, args...)
	var stdout limited
	p.Stdout = &stdout
	r, w, err := os.Pipe()
	if err != nil {
		return "", err
	}
	p.Stdin = r
	if err := p.Start(); err != nil {
		return "", errors.Join(err, r.Close(), w.Close())
	}
	r.Close() // the command has it; without readers, writing fails
	writing, cancel := context.WithCancel(watch.ctx)
	defer context.AfterFunc(writing, func() { _ = w.SetWriteDeadline(past) })()
	done := make(chan error, 1)
	go func() {
		err := watch.writer(write)(writing, w)
		switch {
		case errors.Is(err, syscall.EPIPE): // it may still have to say why it reads no further
			time.AfterFunc(lastWords, func() { _ = p.Process.Kill() })
		case err != nil:
			// Kill it before the archive seems to end.
			_ = p.Process.Kill()
		}
		w.Close()
		done <- err
	}()
	err = ended(watch.ctx, p.failed(p.Wait()))
	cancel()
	own := <-done
	if own != nil && !abandoned(own) {
		return "", own
	}
	if err == nil && own != nil {
		err = fmt.Errorf("%s ends before it has read the archive", program)
	}
	return stdout.String(), err
}

// abandoned reports whether err is that of a writer whose reader is gone.
func abandoned(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, context.Canceled) || errors.Is(err, os.ErrDeadlineExceeded)
}

// stream starts a command and returns its output. If it fails, there is an error
// instead of io.EOF.
func stream(ctx context.Context, program string, args ...string) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	p := newProcess(ctx, program, args...)
	// Not Cmd's own pipe, which Wait closes while it is read.
	r, w, err := os.Pipe()
	if err != nil {
		cancel()
		return nil, err
	}
	p.Stdout = w
	err = p.Start()
	w.Close()
	if err != nil {
		cancel()
		r.Close()
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = r.SetReadDeadline(past) })
	return &commandReader{ctx, r, cancel, sync.OnceValue(func() error { return p.failed(p.Wait()) })}, nil
}

type commandReader struct {
	ctx    context.Context
	pipe   *os.File
	cancel context.CancelFunc
	wait   func() error
}

func (c *commandReader) Read(b []byte) (int, error) {
	n, err := c.pipe.Read(b)
	switch {
	case err != nil && c.ctx.Err() != nil:
		err = context.Cause(c.ctx)
	case err == io.EOF:
		if failed := c.wait(); failed != nil {
			err = ended(c.ctx, failed)
		}
	}
	return n, err
}

// Close ends the command.
func (c *commandReader) Close() error {
	c.cancel()
	err := c.pipe.Close()
	_ = c.wait() // it was asked to end
	return err
}

// saved is like stream, for a command that saves an image.
func saved(ctx context.Context, program string, args ...string) (io.ReadCloser, error) {
	watch := newWatch(ctx)
	r, err := stream(watch.ctx, program, args...)
	if err != nil {
		watch.stop()
		return nil, err
	}
	watch.rest()
	return watchedReader{watch, r}, nil
}

// look finds a program.
func look(program, hint string) error {
	if _, err := exec.LookPath(program); err != nil {
		return &lack.Error{Err: fmt.Errorf("%s is not installed", program), Hints: []string{hint}}
	}
	return nil
}
