package compress

import (
	"context"
	"errors"
	"io"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// slowEncoder takes until release to compress anything, and then writes on behalf of
// what it was given.
type slowEncoder struct {
	out             io.Writer
	release         chan struct{}
	dropped, closed bool
	late            error // of a write to out after release
}

func (s *slowEncoder) Write(p []byte) (int, error) {
	<-s.release
	_, s.late = s.out.Write(p)
	return len(p), s.late
}

func (s *slowEncoder) Close() error {
	s.closed = true
	<-s.release
	_, s.late = s.out.Write([]byte("the end"))
	return s.late
}

func (s *slowEncoder) drop() { s.dropped = true }

// counter is closed to writes once open is false.
type counter struct {
	t    *testing.T
	open bool
}

func (c *counter) Write(p []byte) (int, error) {
	if !c.open {
		c.t.Error("a write after Close")
	}
	return len(p), nil
}

// TestAbandoned: neither Write nor Close waits for an encoder when the context is done,
// nothing is written after Close, and the encoder is not told to compress what it holds.
func TestAbandoned(t *testing.T) {
	for name, test := range map[string]struct {
		size   int  // written before the context ends
		during bool // the context ends while Write or Close waits
		closed bool // the encoder is closed by then
	}{
		"before anything":        {0, false, false},
		"less than a buffer":     {10, false, false},
		"the encoder is busy":    {bufferSize + 1, false, false},
		"a write waits":          {9 * bufferSize, true, false},
		"Close waits":            {bufferSize, true, false},
		"Close waits, no writes": {0, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				w := &counter{t, true}
				out := &output{w: w, failed: make(chan struct{})}
				enc := &slowEncoder{out: out, release: make(chan struct{})}
				z := newWriter(ctx, enc, out)
				if test.during {
					time.AfterFunc(time.Second, cancel)
				}
				if _, err := z.Write(make([]byte, test.size)); err != nil && !errors.Is(err, context.Canceled) {
					t.Errorf("write: %v", err)
				}
				if !test.during {
					cancel()
				}
				for range 2 {
					if err := z.Close(); !errors.Is(err, context.Canceled) {
						t.Errorf("close: %v", err)
					}
				}
				w.open = false
				close(enc.release)
				<-z.done
				if enc.closed != test.closed || enc.dropped == test.closed {
					t.Errorf("the encoder: closed %t, dropped %t", enc.closed, enc.dropped)
				}
			})
		})
	}
}

// TestAbandonedAfterFill: an error of what fills a writer is not kept waiting either.
func TestAbandonedAfterFill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &output{w: io.Discard, failed: make(chan struct{})}
		enc := &slowEncoder{out: out, release: make(chan struct{})}
		start := func(ctx context.Context, _ io.Writer) (io.WriteCloser, error) { return newWriter(ctx, enc, out), nil }
		broken := errors.New("broken")
		err := Fill(t.Context(), nil, start, func(w io.Writer) error {
			_, err := w.Write(make([]byte, bufferSize+1))
			return errors.Join(err, broken)
		})
		if !errors.Is(err, broken) {
			t.Errorf("%v; want %v", err, broken)
		}
		close(enc.release)
		synctest.Wait()
		if enc.closed || !enc.dropped {
			t.Errorf("the encoder: closed %t, dropped %t", enc.closed, enc.dropped)
		}
	})
}

// stuckWriter lets nothing through until it is released.
type stuckWriter chan struct{}

func (s stuckWriter) Write(p []byte) (int, error) {
	<-s
	return len(p), nil
}

// TestAbandonedEncoders: the goroutines of each encoder end, though its queues are full.
func TestAbandonedEncoders(t *testing.T) {
	before := runtime.NumGoroutine()
	for _, level := range []string{"none", "gz:1", "gz:9", "zstd:1", "zstd:19"} {
		t.Run(level, func(t *testing.T) {
			c, err := Parse(level)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			stuck := make(stuckWriter)
			z, err := c.NewWriter(ctx, stuck)
			if err != nil {
				t.Fatal(err)
			}
			time.AfterFunc(10*time.Millisecond, cancel)
			for err == nil { // until every buffer is full
				_, err = z.Write(make([]byte, 1<<20))
			}
			if !errors.Is(err, context.Canceled) {
				t.Errorf("write: %v", err)
			}
			close(stuck) // Close waits for the write of w that is under way, and for nothing else
			if err := z.Close(); !errors.Is(err, context.Canceled) {
				t.Errorf("close: %v", err)
			}
			for range 1000 {
				if runtime.NumGoroutine() <= before+1 { // this test's own
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
			t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		})
	}
}
