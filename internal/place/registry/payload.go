package registry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/internal/pace"
	"github.com/varve-image/varve/layer"
)

// expectSize is the size of a body, in bytes, from which a registry is first
// asked whether it accepts it: it may refuse a body and end the connection while
// that is still being sent, and the answer would be lost.
const expectSize = 256 << 10

// payload is a request's body, which can be opened any number of times.
type payload struct {
	size int64 // in bytes; -1 if unknown
	open func(context.Context) io.ReadCloser
}

func bytesPayload(data []byte) *payload {
	return &payload{int64(len(data)), func(context.Context) io.ReadCloser { return &memory{data: bytes.NewReader(data)} }}
}

// memory is a reader of bytes that may change once it is closed: net/http may go
// on reading after there is an answer.
type memory struct {
	mu     sync.Mutex
	data   *bytes.Reader
	closed bool
}

func (m *memory) Read(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return 0, io.ErrClosedPipe
	}
	return m.data.Read(p)
}

func (m *memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}

// errAbandoned is the error of a writer whose reader has stopped.
var errAbandoned = errors.New("nobody reads any further")

// feed is a reader of what a function writes. Its fields may be used once it is
// closed.
type feed struct {
	*io.PipeReader
	cancel context.CancelFunc
	done   chan struct{}

	hash hash.Hash
	size int64 // that was written
	err  error // of the function; nil when it has written everything
}

func newFeed(ctx context.Context, write func(context.Context, io.Writer) error) *feed {
	ctx, cancel := context.WithCancel(ctx)
	r, w := io.Pipe()
	f := &feed{PipeReader: r, cancel: cancel, done: make(chan struct{}), hash: sha256.New()}
	go func() {
		f.err = write(ctx, writerFunc(func(p []byte) (int, error) {
			f.hash.Write(p)
			n, err := w.Write(p)
			f.size += int64(n)
			return n, err
		}))
		w.CloseWithError(f.err)
		close(f.done)
	}()
	return f
}

// Close ends the function, and returns when it has ended.
func (f *feed) Close() error {
	f.CloseWithError(errAbandoned)
	f.cancel()
	<-f.done
	return nil
}

// result returns the descriptor of what was written. If not all of it was read,
// the error is nil and complete is false.
func (f *feed) result(want v1.Descriptor) (got v1.Descriptor, complete bool, err error) {
	f.Close()
	switch {
	case f.err == nil:
		got, err = checked(want, f.hash, f.size)
		return got, err == nil, err
	case errors.Is(f.err, errAbandoned), errors.Is(f.err, context.Canceled):
		if want.Digest != "" && f.size > want.Size {
			_, err = checked(want, f.hash, f.size)
		}
		return want, false, err
	}
	return want, false, f.err
}

// checked returns want, completed where it was unknown, and an error if what was
// written is something else.
func checked(want v1.Descriptor, h hash.Hash, size int64) (v1.Descriptor, error) {
	got := digest.NewDigest(digest.SHA256, h)
	if want.Digest == "" {
		want.Digest, want.Size = got, size
	}
	if want.Digest.Algorithm() == digest.SHA256 && want.Digest != got || want.Size != size {
		return want, &layer.DigestError{What: "blob that was sent", Want: want.Digest, Got: got}
	}
	return want, nil
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// outgoing is the body of a request that is being sent. It is not read after
// end.
type outgoing struct {
	dog   *watchdog
	body  *payload
	mu    sync.Mutex
	ended bool
	open  []io.Closer
	// continued says that the registry has asked for the body.
	continued atomic.Bool
}

// attach gives a request its body.
func (o *outgoing) attach(req *http.Request) *http.Request {
	if o.body == nil || o.body.size == 0 {
		o.dog.sent()
		return req
	}
	trace := &httptrace.ClientTrace{Got100Continue: func() { o.continued.Store(true) }}
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), trace))
	req.ContentLength = o.body.size
	req.Body = o.reader()
	req.GetBody = func() (io.ReadCloser, error) { return o.reader(), nil }
	return req
}

func (o *outgoing) reader() io.ReadCloser {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		return &memory{closed: true}
	}
	source := o.body.open(o.dog.ctx)
	o.open = append(o.open, source)
	return &outgoingReader{ReadCloser: source, out: o, pace: newPace(o.dog.opts), left: o.body.size}
}

// end ends the reading, and the function that writes what is read.
func (o *outgoing) end() {
	o.mu.Lock()
	o.ended = true
	open := o.open
	o.mu.Unlock()
	for _, source := range open {
		source.Close() // of a reader: there is nothing to lose
	}
}

// while calls do unless the reading has ended.
func (o *outgoing) while(do func() error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		return io.ErrClosedPipe
	}
	return do()
}

type outgoingReader struct {
	io.ReadCloser
	out  *outgoing
	pace *pace.Pace
	last int   // how much was read last
	left int64 // below 0 if unknown
}

// Read feeds the watchdog with what is read. Between two reads the network sends
// what the first one returned; the time of the read itself is ours.
func (r *outgoingReader) Read(p []byte) (int, error) {
	err := r.out.while(func() error {
		r.out.dog.rest()
		slow := r.pace.Got(r.last)
		if slow != nil {
			r.out.dog.cancel(slow)
		}
		return slow
	})
	if err != nil {
		return 0, err
	}
	n, err := r.ReadCloser.Read(p)
	r.last = n
	r.left -= int64(n)
	ended := r.out.while(func() error {
		r.pace.Wait()
		if r.left == 0 || err != nil {
			r.out.dog.sent()
		} else {
			r.out.dog.feed()
		}
		return nil
	})
	if ended != nil {
		return 0, ended
	}
	return n, err
}
