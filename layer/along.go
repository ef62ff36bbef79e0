package layer

import (
	"bytes"
	"context"
	"io"
	"strings"

	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/ctxio"
)

// isTarType reports whether blobs of a media type are tars, compressed or not, whose diffIDs a
// config lists. Attestations and signatures are stored as layers too, and the diffIDs of
// encrypted layers are those of what only their readers see.
func isTarType(mediaType string) bool {
	return mediaType == "" || !strings.HasSuffix(mediaType, "+encrypted") &&
		(strings.HasPrefix(mediaType, "application/vnd.oci.image.layer.") || strings.HasPrefix(mediaType, "application/vnd.docker.image.rootfs."))
}

// along is a stored blob that is unpacked while it is read, so that reading ends with an error
// where its tar is not what the config says.
type along struct {
	io.ReadCloser
	pieces chan []byte   // for the goroutine that unpacks, closed at the end
	done   chan struct{} // closed when that goroutine has ended
	err    error         // why, once it has
	tar    Unpacked      // what it found, if err is nil
	ended  bool          // pieces is closed
	// good is called when both the blob and its tar match.
	good func(Unpacked)
}

// piecesAhead limits how far reading may be ahead of unpacking.
const piecesAhead = 4

// unpackAlong returns a reader of stored.
func (b *Blob) unpackAlong(ctx context.Context, stored io.ReadCloser) io.ReadCloser {
	a := &along{ReadCloser: stored, pieces: make(chan []byte, piecesAhead), done: make(chan struct{}), good: b.verified}
	go func() {
		defer close(a.done)
		a.tar, a.err = b.checkTar(ctxio.Reader(ctx, &pieceReader{pieces: a.pieces}))
	}()
	return a
}

// checkTar reads a blob to the end of its tar.
func (b *Blob) checkTar(blob io.Reader) (found Unpacked, err error) {
	plain, _, err := compress.NewReader(blob)
	if err != nil {
		return found, err
	}
	defer plain.Close()
	v := b.tarVerifier(plain, func(u Unpacked) { found = u })
	_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, v, make([]byte, 256<<10))
	return found, err
}

// Read reads the blob. A damaged blob is reported rather than what it unpacks to, which is why
// the latter is an error only at the end.
func (a *along) Read(p []byte) (int, error) {
	n, err := a.ReadCloser.Read(p)
	if n > 0 {
		select {
		case a.pieces <- bytes.Clone(p[:n]):
		case <-a.done:
		}
	}
	if err == io.EOF {
		if a.end(); a.err != nil {
			err = a.err
		} else {
			a.good(a.tar)
		}
	}
	return n, err
}

// end waits for the goroutine that unpacks.
func (a *along) end() {
	if !a.ended {
		a.ended = true
		close(a.pieces)
	}
	<-a.done
}

// Close ends reading and unpacking.
func (a *along) Close() error {
	a.end()
	return a.ReadCloser.Close()
}

// pieceReader reads what comes in pieces.
type pieceReader struct {
	pieces <-chan []byte
	rest   []byte
}

func (r *pieceReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		piece, ok := <-r.pieces
		if !ok {
			return 0, io.EOF
		}
		r.rest = piece
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}
