package ui

import (
	"bytes"
	"strings"

	"github.com/mattn/go-runewidth"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// Widths of the parts of a bar, in columns.
const (
	barWidth   = 24
	titleWidth = 24
	labelWidth = 8 // a shorter label is left out
)

// bar is a task's bar on the terminal: [======>-----] with text beside it. mpb
// decides when to draw it and lays it out; the screen decides what is written, as
// mpb would hold messages back until it draws again.
type bar struct {
	screen    *screen
	container *mpb.Progress
	bar       *mpb.Bar
}

// newBar shows a bar. It calls status, from a goroutine of its own, for the text: a
// short one that is always shown, and a label that may be cut.
func newBar(s *screen, title string, total int, status func() (text, label string)) *bar {
	b := &bar{screen: s, container: mpb.New(mpb.WithConsoleWriter(&frames{screen: s}))}
	words := decor.Any(func(st decor.Statistics) string {
		text, label := status()
		// A column stays free: some terminals wrap when the last one is used.
		return fit(text, label, st.AvailableWidth-barWidth-len("  ")-1)
	})
	title = runewidth.Truncate(title, titleWidth, "…")
	// With the total 0 the bar never ends by itself: close ends it.
	b.bar = b.container.AddBar(0, mpb.BarWidth(barWidth),
		mpb.PrependDecorators(decor.Name(title)), mpb.AppendDecorators(words))
	b.setTotal(total)
	return b
}

func (b *bar) setTotal(n int) { b.bar.SetTotal(int64(n), false) }

func (b *bar) increment() { b.bar.Increment() }

// close removes the bar from the screen. After that no goroutine is left, and the
// other methods do nothing.
func (b *bar) close() {
	b.container.Shutdown()
	_ = b.screen.draw(nil, 0) // nothing is lost with a bar
}

// fit joins text and as much of the label's end as fits into width columns: the end
// of a store path is its name.
func fit(text, label string, width int) string {
	room := width - runewidth.StringWidth(text) - len("  ")
	over := runewidth.StringWidth(label) - room
	switch {
	case label == "" || room < labelWidth:
		return text
	case over > 0:
		label = runewidth.TruncateLeft(label, over+runewidth.StringWidth("…"), "…")
	}
	return text + "  " + label
}

// frames is the console that mpb draws on: it collects a frame and passes it to the
// screen. mpb uses it from one goroutine.
type frames struct {
	bytes.Buffer
	screen *screen
}

// IsTerminal makes mpb draw.
func (f *frames) IsTerminal() bool { return true }

// GetTermSize returns the terminal's size, or the usual one if the terminal does
// not know it (a serial line, some CI systems).
func (f *frames) GetTermSize() (width, height int, err error) {
	if fd, ok := f.screen.out.(interface{ Fd() uintptr }); ok {
		width, height, err = term.GetSize(int(fd.Fd()))
	}
	if err != nil || width <= 0 || height <= 0 {
		width, height = 80, 24
	}
	return width, height, nil
}

// Flush draws the frame. The lines that mpb counts are those in the frame.
func (f *frames) Flush(int) error {
	frame := f.String()
	f.Reset()
	return f.screen.draw([]byte(frame), strings.Count(frame, "\n"))
}
