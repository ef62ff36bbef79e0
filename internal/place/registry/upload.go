package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// uploads limits how many blobs are sent at once.
	uploads = 4
	// maxChunk limits what a registry may demand instead of chunkSize, in bytes.
	maxChunk = 64 << 20
)

// chunkSize is how much of a blob is kept until the registry has it, in bytes, where it is sent
// in chunks; some registries accept no more. It is a variable so that tests need not send as
// much.
var chunkSize = 4 << 20

// errLost says that a registry does not know any more, or not for certain, what it has of an
// upload.
var errLost = errors.New("the registry has lost the upload")

// upload sends one blob to the repository: in Docker's way first, and in others as the
// registry's answers demand, each once. What breaks off is tried again, and continues where the
// registry says that it stopped.
type upload struct {
	ctx    context.Context
	client *client
	blob   blob
	there  bool // the registry turned out to have the blob

	location *url.URL // of the session; nil if none has begun
	held     int64    // bytes of the blob that the session has
	least    int      // how many bytes the registry wants in each chunk
	first    form     // to try
	breaks   int      // of a streamed blob, after which nothing was held
}

func (u *upload) run() error {
	faults, mark := 0, int64(0)
	for {
		f, err := u.form()
		if err == nil && !u.there {
			err = u.send(f)
		}
		var no *refusal
		if errors.As(err, &no) {
			if err := u.instead(f, no); u.there || err != nil {
				return err
			}
			continue
		}
		if err == nil || errors.As(err, new(*final)) || !errors.Is(err, errLost) && !u.client.transient(u.ctx, err) {
			return err
		}
		if u.held-mark >= progress {
			faults, mark = 0, u.held
		}
		if faults >= u.client.opts.retries() {
			return err
		}
		if err := u.client.opts.sleep(u.ctx, backoff(faults, err)); err != nil {
			return err
		}
		faults++
	}
}

// form returns the form in which to send the blob now. A session that holds something continues
// in chunks. A request that ends with the blob has to state its digest.
func (u *upload) form() (form, error) {
	if u.held > 0 {
		return chunked, nil
	}
	f, err := u.client.uploads.choose(u.first, u.blob.size())
	if err != nil || f.patches() || u.blob.desc.Digest != "" {
		return f, err
	}
	if err := u.know(); err != nil || u.there {
		return f, err
	}
	return u.client.uploads.choose(u.first, u.blob.size())
}

// send sends the blob, or the rest of it.
func (u *upload) send(f form) error {
	switch {
	case f.pieces():
		return u.pieces(f)
	case f == streamed:
		return u.stream()
	}
	return u.atOnce(f)
}

// know finds out the blob's digest, and whether it is there.
func (u *upload) know() (err error) {
	if err = u.blob.measure(u.ctx); err == nil {
		u.there, err = u.client.has(u.ctx, u.blob.desc)
	}
	if err != nil {
		return &final{err}
	}
	return nil
}

// instead decides what to do after a form was refused.
func (u *upload) instead(f form, no *refusal) error {
	resumed := u.held > 0
	u.restart()
	switch {
	case resumed: // the registry did not have what it said: start over, without resuming
		u.first = chunked
	case statusOf(no) == http.StatusLengthRequired && u.blob.desc.Digest == "":
		return u.know()
	default:
		u.client.uploads.note(f, no.error, u.blob.size())
	}
	return nil
}

func (u *upload) restart() { u.location, u.held = nil, 0 }

// begin begins a session, unless there is a fresh one.
func (u *upload) begin() error {
	if u.location != nil {
		return nil
	}
	r := request{method: http.MethodPost, url: u.client.repositoryURL("blobs/uploads/"), body: bytesPayload(nil)}
	resp, err := u.client.do(u.ctx, r, http.StatusAccepted)
	if err == nil {
		discard(resp)
		if least, err := strconv.Atoi(resp.Header.Get("OCI-Chunk-Min-Length")); err == nil && least > 0 && least <= maxChunk {
			u.least = least
		}
		u.location, err = u.client.location(r, resp)
	}
	if err != nil {
		return &final{err}
	}
	return nil
}

// moved updates the session's location, if an answer has one.
func (u *upload) moved(r request, resp *http.Response) (err error) {
	discard(resp)
	if resp.Header.Get("Location") != "" {
		u.location, err = u.client.location(r, resp)
	}
	return err
}

// stream sends the blob in one PATCH.
func (u *upload) stream() error {
	if err := u.begin(); err != nil {
		return err
	}
	body, last := u.payload()
	r := request{method: http.MethodPatch, url: u.location, body: body, header: octets(), patience: u.patience()}
	resp, err := u.client.expect(u.ctx, r, http.StatusAccepted, http.StatusNoContent, http.StatusCreated)
	desc, complete, wrong := last().result(u.blob.desc)
	if err == nil {
		err = u.moved(r, resp)
	}
	switch {
	case wrong != nil:
		return &final{wrong}
	case err != nil && u.client.transient(u.ctx, err):
		return u.broken(err, last().size)
	case err != nil:
		return refused(err)
	case !complete:
		return &refusal{fmt.Errorf("%s: the registry was content before it had everything", u.client.describe(r))}
	}
	u.blob.desc = desc
	return u.commit()
}

// payload returns the blob as a body, and a function that returns its last feed.
func (u *upload) payload() (*payload, func() *feed) {
	var last *feed
	open := func(ctx context.Context) io.ReadCloser {
		last = u.blob.feed(ctx)
		return last
	}
	return &payload{u.blob.size(), open}, func() *feed {
		switch {
		case last != nil:
		case u.blob.size() == 0: // there is no body to be read
			last = u.blob.feed(u.ctx)
			_, _ = io.Copy(io.Discard, last) // the feed has its error
		default: // nobody has read it
			last = newFeed(u.ctx, func(context.Context, io.Writer) error { return errAbandoned })
		}
		return last
	}
}

// broken asks what the registry has of a stream that broke off after sent bytes.
func (u *upload) broken(err error, sent int64) error {
	held, known, statusErr := u.status()
	if statusErr != nil {
		return statusErr
	}
	if known && held <= sent {
		u.held = held
		return err
	}
	u.restart()
	if statusOf(err) == 0 {
		u.breaks++
	}
	if u.breaks > 1 {
		u.first = chunked // less is lost with each chunk
	}
	return err
}

// status asks how much of the blob the session has. Not all registries know, or say.
func (u *upload) status() (end int64, known bool, err error) {
	r := request{method: http.MethodGet, url: u.location}
	resp, err := u.client.do(u.ctx, r, http.StatusNoContent, http.StatusOK, http.StatusAccepted)
	if statusOf(err) != 0 {
		return 0, false, nil
	}
	if err == nil {
		err = u.moved(r, resp)
	}
	if err != nil {
		return 0, false, &final{err}
	}
	// 0-0 may mean nothing or one byte.
	end, known = parseRange(resp.Header.Get("Range"))
	return end, known && end > 1, nil
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

// commit ends a session that has the blob.
func (u *upload) commit() error {
	for faults := 0; ; faults++ {
		r := u.request(http.MethodPut, u.location, bytesPayload(nil))
		resp, err := u.client.expect(u.ctx, r, http.StatusCreated, http.StatusNoContent, http.StatusOK, http.StatusAccepted)
		if err == nil {
			discard(resp)
			return nil
		}
		again := u.client.transient(u.ctx, err)
		if !again && faults == 0 {
			return refused(err)
		}
		if again && faults >= u.client.opts.retries() {
			return &final{err}
		}
		if again {
			if err := u.client.opts.sleep(u.ctx, backoff(faults, err)); err != nil {
				return &final{err}
			}
		}
		// It may be that the answer alone was lost.
		there, hasErr := u.client.has(u.ctx, u.blob.desc)
		switch {
		case there:
			return nil
		case hasErr != nil:
			return &final{hasErr}
		case !again:
			u.restart()
			return fmt.Errorf("%w: %w", errLost, err)
		}
	}
}

// atOnce sends the blob in one request, which also ends the session.
func (u *upload) atOnce(f form) error {
	to, method := u.client.repositoryURL("blobs/uploads/"), http.MethodPost
	statuses := []int{http.StatusCreated} // 202 would mean that a session was begun instead
	if f == whole {
		if err := u.begin(); err != nil {
			return err
		}
		to, method = u.location, http.MethodPut
		statuses = []int{http.StatusCreated, http.StatusNoContent, http.StatusOK, http.StatusAccepted}
	}
	body, last := u.payload()
	r := u.request(method, to, body)
	resp, err := u.client.expect(u.ctx, r, statuses...)
	if _, _, wrong := last().result(u.blob.desc); wrong != nil {
		return &final{wrong}
	}
	u.restart()
	if err == nil {
		discard(resp)
		return nil
	}
	if u.client.transient(u.ctx, err) {
		// It may be that the answer alone was lost.
		there, hasErr := u.client.has(u.ctx, u.blob.desc)
		if there || hasErr != nil {
			return hasErr
		}
	}
	if statusOf(err) == http.StatusAccepted {
		return &refusal{err}
	}
	return refused(err)
}

// request returns a request that makes the registry check the blob and keep it.
func (u *upload) request(method string, location *url.URL, body *payload) request {
	to := *location
	if to.RawQuery != "" {
		to.RawQuery += "&" // the query may be signed, and stays as it is
	}
	to.RawQuery += "digest=" + url.QueryEscape(u.blob.desc.Digest.String())
	return request{method: method, url: &to, body: body, header: octets(), patience: u.patience()}
}

func octets() http.Header { return http.Header{"Content-Type": {"application/octet-stream"}} }

// patience returns how long the registry may take to process what it has received.
func (u *upload) patience() time.Duration { return commitFactor * u.client.opts.stall() }

// abandon tells the registry that the upload ends, if there is still time. Otherwise the
// registry cleans up by itself.
func (u *upload) abandon() {
	if u.location == nil || u.ctx.Err() != nil {
		return
	}
	if resp, err := u.client.send(u.ctx, request{method: http.MethodDelete, url: u.location}); err == nil {
		discard(resp)
	}
}
