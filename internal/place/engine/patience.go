package engine

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/varve-image/varve/internal/pace"
)

// limits say how long an engine may take. They are variables so that tests need
// not wait as long.
var limits = struct {
	// answer limits a whole question: another of the engine's clients may have
	// locked its storage.
	answer time.Duration
	// silence limits how long a load or a save may make no progress: engines
	// write images of many GB to disk before they send or read another byte.
	silence time.Duration
	// rate is the least that a load or a save has to transfer, in bytes a second
	// of the time that the engine takes, on average over a silence.
	rate int64
	// work is the least that an engine unpacks, in bytes a second, once it has a
	// whole archive. It does so silently.
	work int64
}{5 * time.Minute, 30 * time.Minute, 4 << 10, 1 << 20}

// question limits a context to the time for an answer.
func question(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, limits.answer, fmt.Errorf("it has not answered for %v: see whether it is stuck", limits.answer))
}

// ended returns the reason why a context was ended, rather than the error that
// this led to.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// watch ends the context of a load or a save that makes no progress, or next to
// none, for too long. It counts only the time that the engine takes: what varve
// does in between may take any time.
type watch struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	pace   *pace.Pace
	total  int64 // bytes
}

// newWatch returns a watch that is waiting for the engine.
func newWatch(ctx context.Context) *watch {
	w := &watch{pace: pace.New(limits.rate, limits.silence)}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	w.timer = time.AfterFunc(limits.silence, func() {
		w.cancel(fmt.Errorf("nothing has been seen of it for %v: see whether it is stuck", limits.silence))
	})
	return w
}

// stop ends the context.
func (w *watch) stop() {
	w.timer.Stop()
	w.cancel(context.Canceled)
}

// rest stops waiting for the engine until the next step.
func (w *watch) rest() { w.timer.Stop() }

// sent begins to wait for the engine to process what it was sent.
func (w *watch) sent() {
	work := time.Duration(float64(w.total) / float64(limits.work) * float64(time.Second))
	w.timer.Reset(limits.silence + work)
}

// step is a read or a write that waits for the engine.
func (w *watch) step(do func([]byte) (int, error), b []byte) (int, error) {
	w.timer.Reset(limits.silence)
	w.pace.Wait()
	n, err := do(b)
	w.timer.Stop()
	w.total += int64(n)
	if slow := w.pace.Got(n); slow != nil {
		w.cancel(fmt.Errorf("%w: see whether it is stuck", slow))
	}
	return n, ended(w.ctx, err)
}

// watchedWriter writes to an engine.
type watchedWriter struct {
	*watch
	to io.Writer
}

func (w watchedWriter) Write(b []byte) (int, error) { return w.step(w.to.Write, b) }

// writer returns a writeFunc that watches write, and notes when the engine has
// everything.
func (w *watch) writer(write writeFunc) writeFunc {
	return func(ctx context.Context, to io.Writer) error {
		w.rest()
		err := write(ctx, watchedWriter{w, to})
		if err == nil {
			w.sent()
		}
		return err
	}
}

// watchedReader reads what an engine sends.
type watchedReader struct {
	*watch
	io.ReadCloser
}

func (r watchedReader) Read(b []byte) (int, error) { return r.step(r.ReadCloser.Read, b) }

func (r watchedReader) Close() error {
	r.stop()
	return r.ReadCloser.Close()
}
