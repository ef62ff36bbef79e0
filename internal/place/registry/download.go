package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// progress is how many bytes a transfer has to advance before its faults are
// forgotten: a peer that sends a byte at a time must not keep us forever.
const progress = 1 << 20

// download reads a blob. When the connection breaks it asks for the rest; the
// reader has to check the digest of the whole.
type download struct {
	ctx    context.Context
	client *client
	want   v1.Descriptor
	url    request

	body   io.ReadCloser // nil between connections
	etag   string
	offset int64
	// faults counts the faults since offset was at mark.
	faults int
	mark   int64
	// fromStart says that the registry has refused to send only the rest.
	fromStart bool
	err       error // permanent
}

// fetch opens a blob.
func (c *client) fetch(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	if len(d.URLs) > 0 {
		return nil, fmt.Errorf("blob %s: %w", d.Digest, errForeign)
	}
	down := &download{ctx: ctx, client: c, want: d}
	down.url = request{method: http.MethodGet, url: c.repositoryURL("blobs/" + d.Digest.String())}
	if err := down.open(); err != nil {
		return nil, err
	}
	return down, nil
}

func (d *download) Read(p []byte) (int, error) {
	for d.err == nil {
		if d.body == nil {
			if err := d.open(); err != nil {
				d.err = err
				break
			}
		}
		n, err := d.body.Read(p)
		d.offset += int64(n)
		switch {
		case err == nil:
			return n, nil
		case d.offset >= d.want.Size: // whatever happened, nothing is missing
			d.err = io.EOF
		default:
			d.closeBody()
			if err == io.EOF {
				err = &connectionError{fmt.Sprintf("%s: it ended after %d of %d bytes", d.client.describe(d.url), d.offset, d.want.Size), io.ErrUnexpectedEOF}
			}
			d.err = d.again(err)
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, d.err
}

// open asks for the missing part until it comes.
func (d *download) open() error {
	for {
		err := d.tryOpen()
		if err == nil {
			return nil
		}
		if err := d.again(err); err != nil {
			return err
		}
	}
}

// again waits before another try, or returns why there is none.
func (d *download) again(err error) error {
	if d.offset-d.mark >= progress {
		d.faults, d.mark = 0, d.offset
	}
	if d.faults >= d.client.opts.retries() || !d.client.transient(d.ctx, err) {
		return err
	}
	d.faults++
	return d.client.opts.sleep(d.ctx, backoff(d.faults-1, err))
}

func (d *download) tryOpen() error {
	r := d.url
	statuses := []int{http.StatusOK}
	if d.offset > 0 && !d.fromStart {
		r.header = http.Header{"Range": {fmt.Sprintf("bytes=%d-", d.offset)}}
		if d.etag != "" {
			r.header.Set("If-Range", d.etag)
		}
		statuses = append(statuses, http.StatusPartialContent)
	}
	resp, err := d.client.expect(d.ctx, r, statuses...)
	var status *statusError
	if errors.As(err, &status) && status.status == http.StatusRequestedRangeNotSatisfiable && r.header != nil {
		d.fromStart = true
		return d.tryOpen()
	}
	if err != nil {
		return err
	}
	if err := d.accept(resp); err != nil {
		resp.Body.Close()
		return err
	}
	d.body = resp.Body
	return nil
}

// accept advances an answer's body to where reading continues.
func (d *download) accept(resp *http.Response) error {
	what := d.client.describe(d.url)
	rest := d.want.Size - d.offset
	if resp.StatusCode == http.StatusPartialContent {
		if got := resp.Header.Get("Content-Range"); !isRange(got, d.offset, d.want.Size) {
			return fmt.Errorf("%s: asked for what follows byte %d of %d, the registry sent the range %q", what, d.offset, d.want.Size, got)
		}
	} else {
		rest = d.want.Size
	}
	if n := resp.ContentLength; n >= 0 && n != rest {
		if isHTML(resp.Header.Get("Content-Type")) {
			return fmt.Errorf("%s: the answer is a page for a browser", what)
		}
		return fmt.Errorf("%s: blob %s: %d bytes are announced, %d are expected", what, d.want.Digest, n, rest)
	}
	if etag := resp.Header.Get("ETag"); !strings.HasPrefix(etag, "W/") {
		d.etag = etag
	}
	if resp.StatusCode == http.StatusPartialContent || d.offset == 0 {
		return nil
	}
	// It starts over: the digest shows whether it was the same.
	_, err := io.CopyN(io.Discard, resp.Body, d.offset)
	if errors.Is(err, io.EOF) {
		err = &connectionError{what + ": it ended early", io.ErrUnexpectedEOF}
	}
	return err
}

// isRange reports whether a Content-Range covers everything from offset on.
func isRange(s string, offset, size int64) bool {
	s, ok := strings.CutPrefix(s, "bytes ")
	span, total, ok2 := strings.Cut(s, "/")
	return ok && ok2 && span == fmt.Sprintf("%d-%d", offset, size-1) && (total == "*" || total == strconv.FormatInt(size, 10))
}

func (d *download) closeBody() {
	if d.body != nil {
		d.body.Close() // it was only read: closing loses nothing
		d.body = nil
	}
}

// Close ends the download.
func (d *download) Close() error {
	d.closeBody()
	if d.err == nil {
		d.err = errors.New("read of a blob that was closed")
	}
	return nil
}
