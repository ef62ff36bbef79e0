//go:build amd64

package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/varve-image/varve/internal/sandbox"
)

// conversation is the host's side of talking to a guest, which may say anything: a frame
// out of turn, or one that makes no sense, ends it.
type conversation struct {
	step   *sandbox.Step
	cancel context.CancelCauseFunc
	// changes limits the step's layer of changes, in bytes.
	changes int64

	tail    sandbox.Tail
	written int64 // by the step
}

// read reads frames up to the report: first one that says that the guest is there, within
// the boot time, then what the step writes. The step's clock runs meanwhile.
func (c *conversation) read(ctx context.Context, port io.ReadWriter, boot *time.Timer) (*report, error) {
	buf := make([]byte, maxFrame)
	kind, data, err := nextFrame(port, buf)
	if err != nil {
		return nil, err
	}
	if kind != frameHello || len(data) > 0 {
		return nil, senseless(kind, data, "before it was there")
	}
	boot.Stop()
	defer c.started(ctx, &frameWriter{w: port})()
	for {
		kind, data, err := nextFrame(port, buf)
		switch {
		case err != nil:
			return nil, err
		case kind == frameReport:
			rep, err := readReport(data, c.changes)
			if err != nil {
				return nil, fmt.Errorf("the virtual machine's report makes no sense: %w", err)
			}
			return rep, nil
		case (kind == frameStdout || kind == frameStderr) && len(data) > 0:
			if err := c.output(kind, data); err != nil {
				return nil, err
			}
		default:
			return nil, senseless(kind, data, "while the step ran")
		}
	}
}

// nextFrame reads a frame; the end of the stream is an error.
func nextFrame(port io.Reader, buf []byte) (kind byte, data []byte, err error) {
	kind, data, err = readFrame(port, buf)
	if errors.Is(err, io.EOF) {
		err = errNoAnswer
	}
	return kind, data, err
}

func senseless(kind byte, data []byte, when string) error {
	return fmt.Errorf("the virtual machine sent a message of kind %q and %d bytes %s, which makes no sense", kind, len(data), when)
}

// started begins what goes on while the step runs, and returns a function that ends it.
func (c *conversation) started(ctx context.Context, frames *frameWriter) func() {
	ctx, done := context.WithCancel(ctx)
	stop := done
	if limit := c.step.Limits.Time; limit > 0 {
		clock := time.AfterFunc(limit, func() { c.exceeded(sandbox.LimitTime) })
		stop = func() { clock.Stop(); done() }
	}
	if c.step.Stdin != nil {
		go sendInput(ctx, c.step, frames)
	}
	if c.step.Terminal != nil && c.step.Terminal.Resize != nil {
		go sendSizes(ctx, c.step.Terminal, frames)
	}
	return stop
}

func (c *conversation) exceeded(which sandbox.Limit) {
	c.cancel(&sandbox.LimitError{Name: c.step.Name, Limit: which, Limits: c.step.Limits})
}

// output passes on what the step wrote.
func (c *conversation) output(kind byte, data []byte) error {
	c.written += int64(len(data))
	if limit := c.step.Limits.Output; limit > 0 && c.written > limit {
		c.exceeded(sandbox.LimitOutput)
		return errNoAnswer
	}
	_, _ = c.tail.Write(data) // it never fails
	to := c.step.Stdout
	if kind == frameStderr {
		to = c.step.Stderr
	}
	if to == nil {
		return nil
	}
	_, err := to.Write(data)
	return err
}
