package registry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/internal/tally"
)

// blob is a blob to upload.
type blob struct {
	// desc has the digest and the size, unless they are known only at the end.
	desc v1.Descriptor
	// write writes the blob, the same bytes each time. It fails if they are not
	// what desc says.
	write func(ctx context.Context, w io.Writer) error
}

// size returns the blob's size, or -1 if it is unknown.
func (b *blob) size() int64 {
	if b.desc.Digest == "" {
		return -1
	}
	return b.desc.Size
}

// feed begins to write the blob.
func (b *blob) feed(ctx context.Context) *feed { return newFeed(ctx, b.write) }

// errLong says that a blob is not small.
var errLong = errors.New("there is more than is to be kept")

// keep keeps a blob in memory if its digest is unknown and it is no larger than two chunks, so
// that the registry can be asked whether it has it.
func (b *blob) keep(ctx context.Context) error {
	var kept bytes.Buffer
	err := b.write(ctx, writerFunc(func(p []byte) (int, error) {
		if kept.Len()+len(p) > 2*chunkSize {
			return 0, errLong
		}
		return kept.Write(p)
	}))
	if errors.Is(err, errLong) {
		return nil
	}
	if err == nil {
		b.set(digest.FromBytes(kept.Bytes()), int64(kept.Len()))
		b.write = func(_ context.Context, w io.Writer) error {
			_, err := w.Write(kept.Bytes())
			return err
		}
	}
	return err
}

// measure finds out a blob's digest and size.
func (b *blob) measure(ctx context.Context) error {
	h, size := sha256.New(), int64(0)
	err := b.write(ctx, writerFunc(func(p []byte) (int, error) {
		size += int64(len(p))
		return h.Write(p)
	}))
	if err == nil {
		b.set(digest.NewDigest(digest.SHA256, h), size)
	}
	return err
}

func (b *blob) set(d digest.Digest, size int64) { b.desc.Digest, b.desc.Size = d, size }

// has reports whether the repository has a blob already: false unless the registry says so.
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
// descriptor with digest and size, and what that took: it was sent, skipped or mounted.
func (c *client) put(ctx context.Context, b blob, mountFrom []string) (v1.Descriptor, tally.Kind, error) {
	if b.desc.Digest == "" {
		if err := b.keep(ctx); err != nil {
			return b.desc, 0, err
		}
	}
	u := &upload{ctx: ctx, client: c, blob: b}
	if b.desc.Digest != "" {
		if there, err := c.has(ctx, b.desc); there || err != nil {
			if there {
				c.opts.debugf("%s: blob %s is there already", c.ref.repository, b.desc.Digest)
			}
			return b.desc, tally.Skipped, err
		}
		var mounted bool
		var err error
		if u.location, mounted, err = c.mount(ctx, b.desc.Digest, mountFrom); mounted || err != nil {
			if mounted {
				c.opts.debugf("%s: blob %s is taken from another repository", c.ref.repository, b.desc.Digest)
			}
			return b.desc, tally.Mounted, err
		}
	}
	err := u.run()
	if err != nil {
		u.abandon()
	}
	if u.there {
		return u.blob.desc, tally.Skipped, err
	}
	if err == nil {
		c.opts.debugf("%s: sent blob %s", c.ref.repository, u.blob.desc.Digest)
	}
	return u.blob.desc, tally.Sent, err
}

// mount asks the registry to take a blob from another of its repositories. A registry that does
// not may have begun an upload instead.
func (c *client) mount(ctx context.Context, d digest.Digest, from []string) (*url.URL, bool, error) {
	for _, repository := range from {
		if repository == c.ref.repository {
			continue
		}
		r := request{method: http.MethodPost, url: c.repositoryURL("blobs/uploads/"), body: bytesPayload(nil)}
		r.url.RawQuery = url.Values{"mount": {d.String()}, "from": {repository}}.Encode()
		resp, err := c.do(ctx, r, http.StatusCreated, http.StatusAccepted)
		var status *statusError
		if errors.As(err, &status) {
			continue // it has no such repository, or does not let us read it
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

// location returns where an upload continues. It may be on another host, which then has to be
// reached by https and gets no Authorization (see policy).
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
