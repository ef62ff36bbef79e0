// Package pace finds out whether a peer makes progress: one that gives or takes a
// byte now and then is never silent, and would keep the other side waiting for
// ever.
//
// It is the only library that reads the clock, and nothing of that reaches an output.
package pace

import (
	"fmt"
	"time"
)

// Pace counts what a peer gives or takes, and the time spent waiting for it. It is
// not safe for concurrent use.
type Pace struct {
	rate int64
	span time.Duration

	begun  time.Time
	waited time.Duration // in this span
	bytes  int64
}

// New returns a Pace of at least rate bytes a second, on average over a span of
// waiting.
func New(rate int64, span time.Duration) *Pace { return &Pace{rate: rate, span: span} }

// Wait begins a wait for the peer.
func (p *Pace) Wait() { p.begun = time.Now() }

// Got ends the wait that was begun, if one was, with the number of bytes. The error
// says that there were too few in too long a time.
func (p *Pace) Got(bytes int) error {
	if p.begun.IsZero() {
		return nil
	}
	p.bytes += int64(bytes)
	p.waited += time.Since(p.begun)
	p.begun = time.Time{}
	if p.waited < p.span {
		return nil
	}
	if float64(p.bytes) < float64(p.rate)*p.waited.Seconds() {
		return fmt.Errorf("%d bytes came or went in %v, less than %d a second", p.bytes, p.waited.Round(time.Millisecond), p.rate)
	}
	p.bytes, p.waited = 0, 0
	return nil
}
