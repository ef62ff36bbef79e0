package ui

import (
	"context"
	"errors"
	"iter"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"
)

// TerminalSize is in characters.
type TerminalSize struct{ Rows, Columns uint16 }

// RawTerminal is a stream's terminal in raw mode: keys go through unchanged, to a
// program that has a terminal of its own. No message may be written until Restore.
type RawTerminal struct {
	fd      int
	old     *term.State
	resized chan os.Signal
	ctx     context.Context
}

// NewRawTerminal puts stream's terminal into raw mode.
func NewRawTerminal(ctx context.Context, stream any) (*RawTerminal, error) {
	f, ok := stream.(interface{ Fd() uintptr })
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil, errors.New("standard error is not a terminal")
	}
	t := &RawTerminal{fd: int(f.Fd()), ctx: ctx, resized: make(chan os.Signal, 1)}
	var err error
	if t.old, err = term.MakeRaw(t.fd); err != nil {
		return nil, err
	}
	signal.Notify(t.resized, syscall.SIGWINCH)
	return t, nil
}

// Size returns the terminal's size, 24 by 80 if it does not say.
func (t *RawTerminal) Size() TerminalSize {
	columns, rows, err := term.GetSize(t.fd)
	if err != nil || columns <= 0 || rows <= 0 || columns > 1<<15 || rows > 1<<15 {
		return TerminalSize{24, 80}
	}
	return TerminalSize{uint16(rows), uint16(columns)}
}

// Resized yields each new size, until Restore or the end of the context.
func (t *RawTerminal) Resized() iter.Seq[TerminalSize] {
	return func(yield func(TerminalSize) bool) {
		for {
			select {
			case <-t.ctx.Done():
				return
			case _, open := <-t.resized:
				if !open || !yield(t.Size()) {
					return
				}
			}
		}
	}
}

// Restore restores the terminal's previous mode.
func (t *RawTerminal) Restore() error {
	signal.Stop(t.resized)
	close(t.resized)
	return term.Restore(t.fd, t.old)
}
