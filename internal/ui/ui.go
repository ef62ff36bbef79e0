// Package ui writes what a command-line program says to a person or a log: its
// messages and the progress of its work, both on the error stream.
//
// Guarantees:
//
//   - Only the error stream is written to. Standard output belongs to what the
//     user asked for.
//   - A message is written at once, whole, in one write. A progress bar on the
//     terminal is taken away before it and drawn again below it.
//   - No control character reaches the terminal through a message, a hint or a
//     label: names come from hostile input. Such characters, and bytes that are
//     not UTF-8, are written as in a Go string literal, in JSON too. Newlines in
//     a message stay; in text what follows them is indented, so that no name can
//     forge a message.
//   - Without a terminal and without Options.Now the output is a function of the
//     calls.
//   - When Finish returns, or soon after the context of a progress ends, no
//     goroutine is left and no bar is on the screen. The terminal's modes
//     are never changed, except by a RawTerminal until its Restore.
//   - Everything is safe for concurrent use.
//
// Non-goals: asking questions, writing to files, several bars at a time.
//
// The package does not read the environment: the caller passes a way to look
// up variables.
package ui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// Streams are what the program was started with.
type Streams struct {
	// Err gets the messages; nil discards them. A method Fd, if there is one, shows
	// whether it is a terminal.
	Err io.Writer
	// Getenv looks up an environment variable and returns "" if it is not set. It
	// is used for NO_COLOR (https://no-color.org) and TERM. Nil means an empty
	// environment.
	Getenv func(name string) string
}

// IsTerminal reports whether stream, a reader or a writer, is a terminal.
func IsTerminal(stream any) bool {
	f, ok := stream.(interface{ Fd() uintptr })
	return ok && term.IsTerminal(int(f.Fd()))
}

// ProgressModes returns the values of Options.Progress, the default first.
func ProgressModes() []string { return []string{"auto", "plain", "json", "none"} }

// LogFormats returns the values of Options.LogFormat, the default first.
func LogFormats() []string { return []string{"text", "json"} }

// Options say how much is written and in which form.
type Options struct {
	// Progress is one of ProgressModes; "" means auto: a bar if the error stream is
	// a terminal that can show one, json beside JSON messages, plain lines
	// elsewhere, and none with Quiet.
	Progress string
	// LogFormat is one of LogFormats; "" means text.
	LogFormat string
	// Quiet leaves out Info messages and advice; other warnings and errors stay.
	Quiet bool
	// Verbose above 0 adds Debug messages.
	Verbose int
	// Now gives JSON messages their time; nil leaves it out. Text messages have no time.
	Now func() time.Time
}

// UI writes messages and progress. Make one with New.
type UI struct {
	screen   *screen
	capable  bool // of bars
	colours  bool
	handler  slog.Handler
	json     bool   // messages are JSON
	quiet    bool   // advice is left out
	progress string // "bar", "plain", "json" or "none"
	now      func() time.Time

	mu     sync.Mutex
	hasBar bool // a task has its bar on the screen
	worked bool // there was a task
	// advised has the texts that Advise wrote.
	advised map[string]bool
}

// New returns a UI without options.
func New(s Streams) *UI {
	if s.Err == nil {
		s.Err = io.Discard
	}
	if s.Getenv == nil {
		s.Getenv = func(string) string { return "" }
	}
	capable := IsTerminal(s.Err) && s.Getenv("TERM") != "dumb"
	u := &UI{
		screen:  &screen{out: s.Err},
		capable: capable,
		colours: capable && s.Getenv("NO_COLOR") == "",
		advised: map[string]bool{},
	}
	u.set(Options{})
	return u
}

// Use sets options, before anything is written. The error lists every option that is
// wrong, and then none is set.
func (u *UI) Use(opts Options) error {
	err := opts.check()
	if err == nil {
		u.set(opts)
	}
	return err
}

func (u *UI) set(opts Options) {
	u.json = opts.LogFormat == "json"
	u.quiet = opts.Quiet
	u.progress = opts.progressMode(u.capable)
	u.now = opts.Now
	u.handler = newHandler(u.screen, opts, u.colours)
}

func (o *Options) check() error {
	return errors.Join(
		oneOf("progress", o.Progress, ProgressModes()),
		oneOf("log format", o.LogFormat, LogFormats()),
		o.checkAmount())
}

func (o *Options) checkAmount() error {
	if o.Quiet && o.Verbose > 0 {
		return errors.New("quiet and verbose exclude each other: choose one")
	}
	return nil
}

func oneOf(what, value string, allowed []string) error {
	if value == "" || slices.Contains(allowed, value) {
		return nil
	}
	return fmt.Errorf("unknown %s %q: choose one of %s", what, value, strings.Join(allowed, ", "))
}

func (o *Options) progressMode(capable bool) string {
	switch {
	case o.Progress != "" && o.Progress != "auto":
		return o.Progress
	case o.Quiet:
		return "none"
	case o.LogFormat == "json":
		return "json"
	case capable:
		return "bar"
	}
	return "plain"
}

// Debug writes a message with details, which needs Options.Verbose.
func (u *UI) Debug(format string, args ...any) {
	u.log(slog.LevelDebug, fmt.Sprintf(format, args...))
}

// Info writes a message that Options.Quiet leaves out.
func (u *UI) Info(format string, args ...any) {
	u.log(slog.LevelInfo, fmt.Sprintf(format, args...))
}

// Warn writes a message that starts with "varve: warning: ".
func (u *UI) Warn(format string, args ...any) {
	u.log(slog.LevelWarn, fmt.Sprintf(format, args...))
}

// Advise writes a warning that Options.Quiet leaves out: about something that is
// allowed but probably not intended. A text that was written already is left out: what
// is done several times, as for several platforms, repeats it.
func (u *UI) Advise(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	u.mu.Lock()
	written := u.quiet || u.advised[text]
	u.advised[text] = true
	u.mu.Unlock()
	if !written {
		u.Warn("%s", text)
	}
}

// Error writes why the program fails as "varve: " and the error, and below it what
// to do about it, one line for each hint.
func (u *UI) Error(err error, hints ...string) {
	u.log(slog.LevelError, err.Error(), hints...)
}

func (u *UI) log(level slog.Level, text string, hints ...string) {
	ctx := context.Background() // slog wants one; neither handler uses it
	if !u.handler.Enabled(ctx, level) {
		return
	}
	text = cleanText(strings.TrimRight(text, "\n"))
	clean := make([]string, len(hints))
	for i, hint := range hints {
		clean[i] = cleanText(hint)
	}
	record := slog.NewRecord(time.Time{}, level, text, 0)
	switch {
	case !u.json:
		record.Message = layOut(text, clean)
	case len(hints) > 0:
		record.AddAttrs(slog.Any("hints", clean))
	}
	if u.json && u.now != nil {
		record.Time = u.now()
	}
	// Nobody is left to be told that the error stream is broken.
	_ = u.handler.Handle(ctx, record)
}
