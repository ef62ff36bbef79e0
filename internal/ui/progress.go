package ui

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/varve-image/varve/internal/human"
	"github.com/varve-image/varve/internal/tally"
)

// Task is the progress of one piece of work: layers that are made, several at a
// time. End it with Finish.
type Task struct {
	ui    *UI
	tally *tally.Tally // nil if nothing is counted
	bar   *bar         // nil if none is shown
	stop  func() bool
	end   sync.Once

	// mu is never held while a method of bar is called: the bar's goroutine calls
	// status meanwhile.
	mu      sync.Mutex
	total   int
	done    int
	bytes   int64
	running []layer // in the order they were started
	ended   bool
}

type layer struct {
	number int
	label  string
}

// event is a line of --progress json.
type event struct {
	Event  string `json:"event"`
	Layer  int    `json:"layer"`
	Layers int    `json:"layers,omitempty"` // absent while unknown
	Bytes  int64  `json:"bytes"`
	work
	Title string `json:"title"`
}

// work is tally.Work: nothing is absent.
type work struct {
	Hashed     int64 `json:"hashed,omitempty"`
	Compressed int64 `json:"compressed,omitempty"`
	Reused     int64 `json:"reused,omitempty"`
	Sent       int64 `json:"sent,omitempty"`
	Skipped    int64 `json:"skipped,omitempty"`
	Mounted    int64 `json:"mounted,omitempty"`
}

// total is the last line of --progress json.
type total struct {
	Event      string `json:"event"`
	Hashed     read   `json:"hashed"`
	Compressed amount `json:"compressed"`
	Reused     read   `json:"reused"`
	Sent       amount `json:"sent"`
	Skipped    amount `json:"skipped"`
	Mounted    amount `json:"mounted"`
}

type amount struct {
	Layers int   `json:"layers"`
	Bytes  int64 `json:"bytes"`
}

// read is an amount of layers whose files are known.
type read struct {
	Layers int   `json:"layers"`
	Files  int64 `json:"files"`
	Bytes  int64 `json:"bytes"`
}

// Progress starts a task of total layers, 0 if their number is not known yet.
// The title, such as the image's name, stands before the bar; the other forms
// of progress leave it out. When ctx ends, so does the task's output. The bar also shows what
// the tally of ctx says is being done.
//
// A second task beside one that has a bar shows none. Call Finish before
// writing to a standard output that may be the same terminal.
func (u *UI) Progress(ctx context.Context, total int, title string) *Task {
	t := &Task{ui: u, tally: tally.From(ctx), total: max(total, 0)}
	u.mu.Lock()
	u.worked = true
	u.mu.Unlock()
	if u.progress == "bar" && u.takeBar() {
		t.bar = newBar(u.screen, cleanLabel(title), t.total, t.status)
	}
	t.stop = context.AfterFunc(ctx, t.close)
	return t
}

// takeBar reports whether a bar may be shown now.
func (u *UI) takeBar() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	free := !u.hasBar
	u.hasBar = true
	return free
}

// SetTotal sets the number of layers, once it is known.
func (t *Task) SetTotal(n int) {
	t.mu.Lock()
	t.total = max(n, 0)
	t.mu.Unlock()
	if t.bar != nil {
		t.bar.setTotal(max(n, 0))
	}
}

// Start says that layer n, counted from 1, is being made. The label describes its
// content.
func (t *Task) Start(n int, label string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.ended {
		t.running = append(t.running, layer{n, cleanLabel(label)})
	}
}

// Done says that layer n is made, how long it is and what that took. Call it once for each
// layer, started or not.
func (t *Task) Done(n int, bytes int64, did tally.Work) {
	t.mu.Lock()
	ended, total, label := t.ended, t.total, ""
	if at := slices.IndexFunc(t.running, func(l layer) bool { return l.number == n }); at >= 0 {
		label = t.running[at].label
		t.running = slices.Delete(t.running, at, at+1)
	}
	t.done++
	t.bytes += bytes
	t.mu.Unlock()
	if ended {
		return
	}
	switch t.ui.progress {
	case "bar":
		if t.bar != nil {
			t.bar.increment()
		}
	case "plain":
		t.ui.writeLine(plainLine(n, total, bytes, label))
	case "json":
		t.ui.writeLine(jsonLine(event{"layer", n, total, bytes, work(did), label}))
	}
}

// Finish ends the task: its bar leaves the screen, and later calls do nothing. It
// may be called more than once.
func (t *Task) Finish() {
	t.stop()
	t.close()
}

func (t *Task) close() {
	t.end.Do(func() {
		t.mu.Lock()
		t.ended, t.running = true, nil
		t.mu.Unlock()
		if t.bar == nil {
			return
		}
		t.bar.close()
		t.ui.mu.Lock()
		t.ui.hasBar = false
		t.ui.mu.Unlock()
	})
}

// status returns the text beside the bar: "3/12  45.6 MB" and the label of the
// layer that was started last, or "3/12  hashing 45.6 MB" and what is hashed.
func (t *Task) status() (text, label string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.running) > 0 {
		label = t.running[len(t.running)-1].label
	}
	text = human.Size(t.bytes)
	if now, busy := t.tally.Now(); busy {
		text, label = activity(now), cleanLabel(now.Title)
	}
	if t.total > 0 || t.done > 0 {
		text = count(t.done, t.total) + "  " + text
	}
	return text, label
}

// activity returns "hashing 45.6 MB of 67.8 MB", as far as it is known.
func activity(now tally.Now) string {
	switch {
	case now.Size > 0:
		return fmt.Sprintf("%s %s of %s", now.What, human.Size(now.Done), human.Size(now.Size))
	case now.Done > 0:
		return now.What + " " + human.Size(now.Done)
	}
	return now.What
}

// Total says what was done in all, for --progress json, if there was a task.
func (u *UI) Total(t *tally.Tally) {
	u.mu.Lock()
	worked := u.worked
	u.mu.Unlock()
	if u.progress != "json" || !worked {
		return
	}
	readOf := func(k tally.Kind) read { return read(t.Total(k)) }
	amountOf := func(k tally.Kind) amount { a := t.Total(k); return amount{a.Layers, a.Bytes} }
	u.writeLine(jsonLine(total{
		"total", readOf(tally.Hashed), amountOf(tally.Compressed), readOf(tally.Reused),
		amountOf(tally.Sent), amountOf(tally.Skipped), amountOf(tally.Mounted),
	}))
}

func (u *UI) writeLine(line []byte) {
	// As with messages, a broken stream cannot be reported to anybody.
	_, _ = u.screen.Write(line)
}

func plainLine(n, total int, bytes int64, label string) []byte {
	if label != "" {
		label = "  " + label
	}
	return fmt.Appendf(nil, "layer %s  %s%s\n", count(n, total), human.Size(bytes), label)
}

// jsonLine encodes v on one line. Labels keep their <, > and &.
func jsonLine(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // numbers and strings cannot fail
	return b.Bytes()
}

// count returns "3/12", or "3" if the total is not known.
func count(n, total int) string {
	if total == 0 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d/%d", n, total)
}
