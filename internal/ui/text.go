package ui

import (
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/lmittmann/tint"
)

// ANSI colours as tint numbers them.
const (
	brightRed    = 9
	brightYellow = 11
)

// newHandler returns the slog handler for the log format of opts.
func newHandler(w io.Writer, opts Options, colour bool) slog.Handler {
	level := slog.LevelInfo
	switch {
	case opts.Quiet:
		level = slog.LevelWarn
	case opts.Verbose > 0:
		level = slog.LevelDebug
	}
	if opts.LogFormat == "json" {
		return slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})
	}
	return tint.NewTextHandler(w, &tint.Options{Level: level, NoColor: !colour, ReplaceAttr: textAttr})
}

// textAttr gives a text message its prefix instead of the level.
func textAttr(groups []string, a slog.Attr) slog.Attr {
	if len(groups) > 0 || a.Key != slog.LevelKey {
		return a
	}
	level, _ := a.Value.Any().(slog.Level)
	switch {
	case level >= slog.LevelError:
		return tint.Attr(brightRed, slog.String(a.Key, "varve:"))
	case level >= slog.LevelWarn:
		return tint.Attr(brightYellow, slog.String(a.Key, "varve: warning:"))
	case level >= slog.LevelInfo:
		return slog.Attr{}
	}
	return slog.String(a.Key, "debug:")
}

// layOut joins a message and its hints, both clean, into the lines of a text message.
func layOut(text string, hints []string) string {
	for _, hint := range hints {
		text += "\nhint: " + hint
	}
	return strings.ReplaceAll(text, "\n", "\n  ")
}

// cleanText makes a message fit for a terminal; newlines stay.
func cleanText(s string) string { return clean(s, '\n') }

// cleanLabel makes a name fit for one line of a terminal.
func cleanLabel(s string) string { return clean(s, utf8.RuneError) }

// clean writes each byte that is not UTF-8 and each character that cannot be
// printed, except keep, as in a Go string literal: \x1b, \u202e, \xff.
func clean(s string, keep rune) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsPrint(r) || r == keep:
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		i += n
	}
	return b.String()
}
