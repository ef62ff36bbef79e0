package registry

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/varve-image/varve/internal/pace"
)

// errStalled is the cause when a request was ended because the network was
// silent.
var errStalled = errors.New("nothing was sent or received for too long")

// watchdog ends a context unless it is fed.
type watchdog struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	opts   Options
	// patience is the limit, if it is longer, once everything is sent.
	patience time.Duration
}

func newWatchdog(ctx context.Context, opts Options, patience time.Duration) *watchdog {
	w := &watchdog{opts: opts, patience: patience}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	w.timer = time.AfterFunc(opts.stall(), func() { w.cancel(errStalled) })
	return w
}

func (w *watchdog) feed() { w.timer.Reset(w.opts.stall()) }

// sent feeds the watchdog when there is nothing more to be sent.
func (w *watchdog) sent() { w.timer.Reset(max(w.opts.stall(), w.patience)) }

// rest stops the watchdog until it is fed: the reader may take its time.
func (w *watchdog) rest() { w.timer.Stop() }

func (w *watchdog) stop() {
	w.timer.Stop()
	w.cancel(context.Canceled)
}

// paceSpan times the stall time-out is the time over which a transfer's rate is
// measured: during one stall time-out of it the network may be silent.
const paceSpan = 2

func newPace(opts Options) *pace.Pace { return pace.New(opts.minRate(), paceSpan*opts.stall()) }

// watchedBody is an answer's body; its errors say what was requested.
type watchedBody struct {
	io.ReadCloser
	dog  *watchdog
	pace *pace.Pace
	c    *client
	r    request
}

func (b *watchedBody) Read(p []byte) (int, error) {
	b.dog.feed()
	b.pace.Wait()
	n, err := b.ReadCloser.Read(p)
	b.dog.rest()
	if slow := b.pace.Got(n); slow != nil && err == nil {
		b.dog.cancel(slow) // so the next read fails
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = b.c.requestError(b.r, err, context.Cause(b.dog.ctx))
	}
	return n, err
}

func (b *watchedBody) Close() error {
	err := b.ReadCloser.Close()
	b.dog.stop()
	return err
}
