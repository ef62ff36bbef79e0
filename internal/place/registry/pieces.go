package registry

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"net/http"
)

// pieces sends the blob, or the part that the session lacks, in chunks (distribution-spec,
// "Pushing a blob in chunks").
func (u *upload) pieces(f form) error {
	if err := u.begin(); err != nil {
		return err
	}
	c := &chunker{upload: u, ranges: f == chunked, hash: sha256.New(), skip: u.held, offset: u.held, reached: u.held}
	err := u.blob.write(u.ctx, c)
	switch {
	case c.err != nil: // the blob is not the cause
		err = c.err
	case err != nil:
		return &final{err}
	default:
		err = c.end()
	}
	if errors.Is(err, errLost) {
		u.restart()
	}
	return err
}

// chunker sends what is written to it. A chunk is kept until the registry has it,
// so that it, or a part of it, can be sent again.
type chunker struct {
	*upload
	ranges bool // send Content-Range

	hash   hash.Hash // of everything that was written
	size   int64     // of it
	skip   int64     // how much of what comes the session has already
	offset int64     // of chunk in the blob
	chunk  []byte
	sent   int // bytes of chunk
	// reached is how much of the blob the registry says it has taken: sending that again is not
	// progress.
	reached int64
	again   bool  // the next piece may be there already
	err     error // the first one
}

// Write takes a piece of the blob, and sends each chunk that is full.
func (c *chunker) Write(p []byte) (int, error) {
	taken := len(p)
	c.hash.Write(p)
	c.size += int64(len(p))
	skipped := min(c.skip, int64(len(p)))
	c.skip -= skipped
	for p = p[skipped:]; len(p) > 0 && c.err == nil; {
		if room := c.room(); room == 0 {
			c.err = c.send()
		} else {
			if c.chunk == nil {
				c.chunk = make([]byte, 0, room)
			}
			n := min(len(p), room)
			c.chunk = append(c.chunk, p[:n]...)
			p = p[n:]
		}
	}
	return taken - len(p), c.err
}

// room returns how many more bytes fit in the chunk.
func (c *chunker) room() int {
	most := max(chunkSize, c.least)
	if size := c.blob.size(); size >= 0 {
		most = int(min(int64(most), max(size, 1)))
	}
	return most - len(c.chunk)
}

// end sends what is left, and ends the session.
func (c *chunker) end() error {
	desc, wrong := checked(c.blob.desc, c.hash, c.size)
	if wrong != nil {
		return &final{wrong}
	}
	c.blob.desc = desc
	if err := c.send(); err != nil {
		return err
	}
	return c.commit()
}

// send sends the chunk, in as many pieces as the registry wants.
func (c *chunker) send() error {
	for faults := 0; c.sent < len(c.chunk); {
		piece := c.chunk[c.sent:]
		piece = piece[:min(len(piece), c.client.uploads.piece(c.least))]
		n, err := c.patch(piece)
		if err == nil {
			c.sent += n
			if c.at() > c.reached {
				c.reached, faults, c.again = c.at(), 0, false
			}
			continue
		}
		if c.client.transient(c.ctx, err) {
			if faults >= c.client.opts.retries() {
				return &final{err}
			}
			if err := c.client.opts.sleep(c.ctx, backoff(faults, err)); err != nil {
				return &final{err}
			}
			faults++
			err = c.resume(err)
		} else {
			err = c.adapt(err, len(piece))
		}
		if err != nil {
			return err
		}
	}
	c.offset += int64(c.sent)
	c.chunk, c.sent = c.chunk[:0], 0
	return nil
}

// at returns where the next piece begins in the blob.
func (c *chunker) at() int64 { return c.offset + int64(c.sent) }

// patch sends a piece and returns how many bytes of it the registry has taken.
func (c *chunker) patch(piece []byte) (int, error) {
	from := c.at()
	to := from + int64(len(piece))
	r := request{method: http.MethodPatch, url: c.location, body: bytesPayload(piece), header: octets()}
	if c.ranges {
		r.header.Set("Content-Range", fmt.Sprintf("%d-%d", from, to-1))
	}
	resp, err := c.client.expect(c.ctx, r, http.StatusAccepted, http.StatusNoContent, http.StatusCreated)
	if err == nil {
		err = c.moved(r, resp)
	}
	if err != nil {
		return 0, err
	}
	// Some registries say where the first chunk ended, or count from the beginning of this one:
	// only an end within this piece says that a part of it was taken.
	if end, stated := parseRange(resp.Header.Get("Range")); stated && end > from && end < to {
		return int(end - from), nil
	}
	return len(piece), nil
}

// resume finds out where to continue after a piece broke off.
func (c *chunker) resume(cause error) error {
	found, _, err := c.find()
	switch {
	case err != nil, found:
		c.again = true
		return err
	case c.at() > 0:
		return fmt.Errorf("%w: %w", errLost, cause)
	}
	return c.anew()
}

// adapt finds out what to do after a piece was refused.
func (c *chunker) adapt(cause error, size int) error {
	switch statusOf(cause) {
	case http.StatusRequestEntityTooLarge:
		return c.smaller(cause, size)
	case http.StatusRequestedRangeNotSatisfiable:
		found, moved, err := c.find()
		switch {
		case err != nil:
			return err
		case moved:
			return c.ahead(cause)
		case c.again: // it has taken the piece, but does not say so
			return fmt.Errorf("%w: %w", errLost, cause)
		case found: // it is where we are: something else is wrong
			return c.smaller(cause, size)
		case c.at() == 0:
			if err := c.smaller(cause, size); err != nil {
				return err
			}
			return c.anew()
		}
	case http.StatusNotFound:
		if _, moved, err := c.find(); err != nil {
			return err
		} else if moved {
			return c.ahead(cause)
		}
	}
	return refused(cause)
}

// ahead continues the upload where the registry says, unless it lacks what it has taken before:
// it would lose that again.
func (c *chunker) ahead(cause error) error {
	if c.at() < c.reached {
		return refused(cause)
	}
	return nil
}

// smaller makes the next pieces smaller than size, if possible.
func (c *chunker) smaller(cause error, size int) error {
	if size <= minPiece {
		return refused(cause)
	}
	c.client.uploads.smaller(cause, int64(size))
	return nil
}

// anew begins a session instead of one that has nothing.
func (c *chunker) anew() error {
	c.restart()
	return c.begin()
}

// find asks the registry where the session is. found reports whether that is known and within
// what can be sent again, moved whether it is not where we are.
func (c *chunker) find() (found, moved bool, err error) {
	end, known, err := c.status()
	if err != nil || !known || end < c.offset || end > c.offset+int64(len(c.chunk)) {
		return false, false, err
	}
	moved = end != c.at()
	c.sent = int(end - c.offset)
	return true, moved, nil
}
