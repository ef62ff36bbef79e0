//go:build amd64

package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/varve-image/varve/sandbox"
)

// conversation is what the host has heard of a guest.
type conversation struct {
	step   *sandbox.Step
	cancel context.CancelCauseFunc
	boot   time.Duration

	tail    sandbox.Tail
	written int64 // by the step
}

// read reads frames up to the report. The clocks of the boot and of the step
// run meanwhile.
func (c *conversation) read(ctx context.Context, m *machine) (*report, error) {
	frames := &frameWriter{w: m.port}
	boot := time.AfterFunc(c.boot, func() {
		c.cancel(fmt.Errorf("step %s: the virtual machine did not start within %v%s", c.step.Name, c.boot, m.consoleText()))
	})
	defer boot.Stop()
	buf := make([]byte, maxFrame)
	for {
		kind, data, err := readFrame(m.port, buf)
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errNoAnswer
			}
			return nil, err
		}
		switch kind {
		case frameHello:
			if boot.Stop() {
				defer c.started(ctx, frames)()
			}
		case frameStdout, frameStderr:
			if err := c.output(kind, data); err != nil {
				return nil, err
			}
		case frameReport:
			return decodeReport(data)
		default:
			return nil, fmt.Errorf("the virtual machine sent a message of kind %q", kind)
		}
	}
}

// started begins what goes on while the step runs, and returns what ends it.
func (c *conversation) started(ctx context.Context, frames *frameWriter) func() {
	ctx, done := context.WithCancel(ctx)
	stop := done
	if limit := c.step.Limits.Time; limit > 0 {
		clock := time.AfterFunc(limit, func() { c.exceeded(sandbox.BoundTime) })
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

func (c *conversation) exceeded(bound sandbox.Bound) {
	c.cancel(&sandbox.LimitError{Name: c.step.Name, Bound: bound, Limits: c.step.Limits})
}

// output passes on what the step wrote.
func (c *conversation) output(kind byte, data []byte) error {
	c.written += int64(len(data))
	if limit := c.step.Limits.Output; limit > 0 && c.written > limit {
		c.exceeded(sandbox.BoundOutput)
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
