package engine

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/varve-image/varve/internal/pace"
)

// limits are how long an engine may take. They are variables so that tests need
// not wait as long.
var limits = struct {
	// answer is for a question, in whole: another of the engine's clients may have
	// its storage locked.
	answer time.Duration
	// silence is how long nothing may be seen of a load or a save: engines write
	// images of many GB to disk before they say a word, or take one more.
	silence time.Duration
	// rate is how many bytes a second a load or a save has at least, of the time
	// that the engine takes and on average over a silence.
	rate int64
	// work is how many bytes a second an engine unpacks at least once it has all
	// of an archive, which it does in silence.
	work int64
}{5 * time.Minute, 30 * time.Minute, 4 << 10, 1 << 20}

// question bounds a context by the time for an answer.
func question(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, limits.answer, fmt.Errorf("it has not answered for %v: see whether it is stuck", limits.answer))
}

// ended is why a context was ended, which counts for more than what came of it.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// watch ends the context of a load or a save of which nothing, or next to
// nothing, is seen for too long. It counts the time that the engine takes: what
// varve itself does in between may take any.
type watch struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	pace   *pace.Pace
	total  int64 // bytes
}

// newWatch begins with an engine that is waited for.
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

// rest has nobody wait for the engine until the next step.
func (w *watch) rest() { w.timer.Stop() }

// sent begins the wait for what the engine makes of what it has got.
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

// writer has write write to an engine, and tells when that has everything.
func (w *watch) writer(write WriteFunc) WriteFunc {
	return func(ctx context.Context, to io.Writer) error {
		w.rest()
		err := write(ctx, watchedWriter{w, to})
		if err == nil {
			w.sent()
		}
		return err
	}
}

// watchedReader is what an engine sends.
type watchedReader struct {
	*watch
	io.ReadCloser
}

func (r watchedReader) Read(b []byte) (int, error) { return r.step(r.ReadCloser.Read, b) }

func (r watchedReader) Close() error {
	r.stop()
	return r.ReadCloser.Close()
}
