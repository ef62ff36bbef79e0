package registry

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/layer"
)

const (
	// uploads is how many blobs are sent at once.
	uploads = 4
	// maxChunk is what a registry may demand in the place of chunkSize, in bytes.
	maxChunk = 64 << 20
)

// chunkSize is how much of a blob is kept until the registry has it, in bytes. It is
// a variable so that tests need not send as much.
var chunkSize = 8 << 20

// errLost says that a registry does not know any more, or not surely, what of
// an upload it has.
var errLost = errors.New("the registry has lost the upload")

// blob is what can be uploaded.
type blob struct {
	// desc has the digest, unless that is known at the end only, and the size.
	desc v1.Descriptor
	// write writes the blob, the same bytes each time. It fails if they are not
	// what desc says.
	write func(ctx context.Context, w io.Writer) error
}

// has tells whether the repository has a blob already. If the registry does
// not say so, it has not.
func (c *client) has(ctx context.Context, d v1.Descriptor) (bool, error) {
	r := request{method: http.MethodHead, url: c.repositoryURL("blobs/" + d.Digest.String())}
	resp, err := c.do(ctx, r, http.StatusOK)
	var status *statusError
	if errors.As(err, &status) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	discard(resp)
	return resp.ContentLength == d.Size, nil
}

// put brings a blob into the repository, if it is not there, and returns its
// descriptor with digest and size.
func (c *client) put(ctx context.Context, b blob, mountFrom []string) (v1.Descriptor, error) {
	var location *url.URL
	if b.desc.Digest != "" {
		if there, err := c.has(ctx, b.desc); there || err != nil {
			return b.desc, err
		}
		var mounted bool
		var err error
		if location, mounted, err = c.mount(ctx, b.desc.Digest, mountFrom); mounted || err != nil {
			return b.desc, err
		}
	}
	for try := 0; ; try++ {
		u := &upload{ctx: ctx, client: c, want: b.desc, location: location, hash: sha256.New(), limit: chunkSize}
		desc, err := u.run(b.write)
		if err == nil {
			return desc, nil
		}
		if !errors.Is(err, errLost) || try >= c.opts.retries() {
			u.abandon()
			return desc, err
		}
		location = nil
		if err := c.opts.sleep(ctx, backoff(try, err)); err != nil {
			return desc, err
		}
	}
}

// mount asks the registry to take a blob from another of its repositories. A
// registry that does not may have begun an upload in its place.
func (c *client) mount(ctx context.Context, d digest.Digest, from []string) (*url.URL, bool, error) {
	for _, repository := range from {
		if repository == c.ref.repository {
			continue
		}
		r := request{method: http.MethodPost, url: c.repositoryURL("blobs/uploads/"), body: []byte{}}
		r.url.RawQuery = url.Values{"mount": {d.String()}, "from": {repository}}.Encode()
		resp, err := c.do(ctx, r, http.StatusCreated, http.StatusAccepted)
		var status *statusError
		if errors.As(err, &status) {
			continue // it has no such repository, or we may not read it
		}
		if err != nil {
			return nil, false, err
		}
		discard(resp)
		if resp.StatusCode == http.StatusCreated {
			return nil, true, nil
		}
		location, err := c.location(r, resp)
		return location, false, err
	}
	return nil, false, nil
}

// location is where an upload goes on. It may be on another host, which then
// has to be reached by https and gets no Authorization (see policy).
func (c *client) location(r request, resp *http.Response) (*url.URL, error) {
	text := resp.Header.Get("Location")
	u, err := r.url.Parse(text)
	if text == "" || err != nil || u.Host == "" || u.User != nil {
		return nil, fmt.Errorf("%s: the registry does not say where the upload goes on", c.describe(r))
	}
	if r.url.Scheme == "https" && u.Scheme != "https" {
		return nil, refuse("%s: refused to send the upload to %q: it does not use https", c.describe(r), u.Scheme+"://"+u.Host)
	}
	u.Fragment = ""
	return u, nil
}

// upload is one attempt at a blob: a session with the registry (distribution-spec,
// "Pushing a blob in chunks"). What is written to it is kept until the registry
// has it, so that a chunk can be sent again.
type upload struct {
	ctx      context.Context
	client   *client
	want     v1.Descriptor
	location *url.URL // nil until the session has begun
	limit    int      // of chunk

	hash   hash.Hash // of all that was written
	offset int64     // of chunk in the blob
	chunk  []byte
	sent   bool  // a chunk was
	err    error // the first one
}

func (u *upload) run(write func(context.Context, io.Writer) error) (v1.Descriptor, error) {
	err := write(u.ctx, u)
	if u.err != nil { // not the blob's fault
		err = u.err
	}
	desc := u.want
	if err != nil {
		return desc, err
	}
	got := digest.NewDigest(digest.SHA256, u.hash)
	size := u.offset + int64(len(u.chunk))
	if desc.Digest == "" {
		desc.Digest, desc.Size = got, size
	}
	if desc.Digest.Algorithm() == digest.SHA256 && desc.Digest != got || desc.Size != size {
		return desc, &layer.DigestError{What: "blob that was sent", Want: desc.Digest, Got: got}
	}
	if u.sent {
		return desc, u.finish(desc.Digest)
	}
	return desc, u.whole(desc)
}

// Write takes a piece of the blob, and sends a chunk when there is one.
func (u *upload) Write(p []byte) (int, error) {
	n := 0
	for len(p) > 0 && u.err == nil {
		if u.chunk == nil && u.want.Digest != "" {
			u.chunk = make([]byte, 0, min(u.want.Size, int64(u.limit)))
		}
		if len(u.chunk) == u.limit {
			if u.err = u.send(); u.err != nil {
				break
			}
			continue
		}
		k := min(len(p), u.limit-len(u.chunk))
		u.chunk = append(u.chunk, p[:k]...)
		u.hash.Write(p[:k])
		p, n = p[k:], n+k
	}
	return n, u.err
}

// begin begins a session.
func (u *upload) begin() error {
	r := request{method: http.MethodPost, url: u.client.repositoryURL("blobs/uploads/"), body: []byte{}}
	resp, err := u.client.do(u.ctx, r, http.StatusAccepted)
	if err != nil {
		return err
	}
	discard(resp)
	if least, err := strconv.Atoi(resp.Header.Get("OCI-Chunk-Min-Length")); err == nil && least > u.limit && least <= maxChunk {
		u.limit = least
	}
	u.location, err = u.client.location(r, resp)
	return err
}

// send sends the chunk. If it breaks off, the registry says how much it has.
func (u *upload) send() error {
	if u.location == nil {
		before := u.limit
		if err := u.begin(); err != nil || u.limit > before {
			return err // the chunk has to grow first
		}
	}
	for faults, done := 0, 0; done < len(u.chunk); {
		n, err := u.patch(done)
		if err == nil && n > 0 {
			done += n
			continue
		}
		if err == nil {
			err = errLost
		}
		if err := u.recoverable(err, faults); err != nil {
			return err
		}
		faults++
		if done, err = u.status(); err != nil {
			return err
		}
	}
	u.sent = true
	u.offset += int64(len(u.chunk))
	u.chunk = u.chunk[:0]
	return nil
}

// recoverable waits where it is worth another try, and otherwise returns err.
func (u *upload) recoverable(err error, faults int) error {
	var status *statusError
	asked := errors.As(err, &status) && (status.status == http.StatusRequestedRangeNotSatisfiable || status.status == http.StatusNotFound)
	c := u.client
	if faults >= c.opts.retries() || !asked && !errors.Is(err, errLost) && !c.transient(u.ctx, err) {
		return err
	}
	return c.opts.sleep(u.ctx, backoff(faults, err))
}

// patch sends the chunk without its first bytes and returns how many more the
// registry has taken.
func (u *upload) patch(done int) (int, error) {
	from, to := u.offset+int64(done), u.offset+int64(len(u.chunk))
	r := request{method: http.MethodPatch, url: u.location, body: u.chunk[done:], header: http.Header{
		"Content-Type":  {"application/octet-stream"},
		"Content-Range": {fmt.Sprintf("%d-%d", from, to-1)},
	}}
	resp, err := u.client.expect(u.ctx, r, http.StatusAccepted, http.StatusNoContent, http.StatusCreated)
	if err != nil {
		return 0, err
	}
	discard(resp)
	if resp.Header.Get("Location") != "" {
		if u.location, err = u.client.location(r, resp); err != nil {
			return 0, err
		}
	}
	end, stated := parseRange(resp.Header.Get("Range"))
	if !stated {
		end = to
	}
	if end < from || end > to {
		return 0, errLost
	}
	return int(end - from), nil
}

// status asks how much of the chunk the registry has. Where that cannot be
// known, the session begins anew if nothing came before the chunk.
func (u *upload) status() (int, error) {
	r := request{method: http.MethodGet, url: u.location}
	resp, err := u.client.do(u.ctx, r, http.StatusNoContent, http.StatusOK, http.StatusAccepted)
	var answer *statusError
	switch {
	case errors.As(err, &answer):
	case err != nil:
		return 0, err
	default:
		discard(resp)
		if resp.Header.Get("Location") != "" {
			if u.location, err = u.client.location(r, resp); err != nil {
				return 0, err
			}
		}
		// 0-0 is said of nothing and of one byte.
		end, ok := parseRange(resp.Header.Get("Range"))
		if done := end - u.offset; ok && end > 1 && done >= 0 && done <= int64(len(u.chunk)) {
			return int(done), nil
		}
	}
	if u.offset > 0 {
		return 0, errLost
	}
	return 0, u.begin()
}

// parseRange reads 0-LAST and returns what follows the last byte.
func parseRange(s string) (end int64, ok bool) {
	s, _ = strings.CutPrefix(s, "bytes=")
	last, ok := strings.CutPrefix(s, "0-")
	n, err := strconv.ParseInt(last, 10, 64)
	if !ok || err != nil || n < 0 || n == 1<<63-1 {
		return 0, false
	}
	return n + 1, true
}

// finish ends a session whose chunks are sent.
func (u *upload) finish(d digest.Digest) error {
	if len(u.chunk) > 0 {
		if err := u.send(); err != nil {
			return err
		}
	}
	for faults := 0; ; faults++ {
		err := u.commit(d, nil)
		var status *statusError
		if errors.As(err, &status) && (status.status == http.StatusNotFound || status.status == http.StatusRequestedRangeNotSatisfiable) {
			return fmt.Errorf("%w: %w", errLost, err)
		}
		if err == nil {
			return nil
		}
		if err := u.recoverable(err, faults); err != nil {
			return err
		}
		// It may be that the answer alone was lost.
		if there, err := u.client.has(u.ctx, v1.Descriptor{Digest: d, Size: u.offset}); there || err != nil {
			return err
		}
	}
}

// whole sends a blob of one chunk at once.
func (u *upload) whole(d v1.Descriptor) error {
	if u.want.Digest == "" {
		if there, err := u.client.has(u.ctx, d); there || err != nil {
			return err
		}
	}
	for faults := 0; ; faults++ {
		if u.location == nil {
			if err := u.begin(); err != nil {
				return err
			}
		}
		err := u.commit(d.Digest, u.chunk)
		if err == nil {
			return nil
		}
		if err := u.recoverable(err, faults); err != nil {
			return err
		}
		u.location = nil
		if there, err := u.client.has(u.ctx, d); there || err != nil {
			return err
		}
	}
}

// commit has the registry check the upload and keep it.
func (u *upload) commit(d digest.Digest, body []byte) error {
	to := *u.location
	if to.RawQuery != "" {
		to.RawQuery += "&" // what is there may be signed, and stays as it is
	}
	to.RawQuery += "digest=" + url.QueryEscape(d.String())
	if body == nil {
		body = []byte{}
	}
	r := request{
		method: http.MethodPut, url: &to, body: body, header: http.Header{"Content-Type": {"application/octet-stream"}},
		patience: commitFactor * u.client.opts.stall(),
	}
	resp, err := u.client.expect(u.ctx, r, http.StatusCreated, http.StatusNoContent, http.StatusOK, http.StatusAccepted)
	if err != nil {
		return err
	}
	discard(resp)
	return nil
}

// abandon tells the registry that the upload ends, if there is still time. It
// clears up after itself otherwise.
func (u *upload) abandon() {
	if u.location == nil || u.ctx.Err() != nil {
		return
	}
	if resp, err := u.client.send(u.ctx, request{method: http.MethodDelete, url: u.location}); err == nil {
		discard(resp)
	}
}
