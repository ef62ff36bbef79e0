package ui

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/tally"
	"github.com/varve-image/varve/internal/testtools"
)

// terminal is a pseudo terminal: what is written to tty is kept.
type terminal struct {
	tty *os.File

	mu  sync.Mutex
	got []byte
}

func openTerminal(t *testing.T, columns uint16) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		testtools.Lack(t, "pseudo terminals: %v", err)
	}
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24 * min(columns, 1), Col: columns}); err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		testtools.Lack(t, "pseudo terminals: %v", err)
	}
	term := &terminal{tty: tty}
	var wg sync.WaitGroup
	wg.Go(func() { term.collect(master) })
	t.Cleanup(func() {
		tty.Close()
		wg.Wait() // the last tty is closed: reading fails with EIO
		master.Close()
	})
	return term
}

func (term *terminal) collect(master *os.File) {
	buf := make([]byte, 4096)
	for {
		n, err := master.Read(buf)
		term.mu.Lock()
		term.got = append(term.got, buf[:n]...)
		term.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (term *terminal) raw() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	return string(term.got)
}

var sequence = regexp.MustCompile(`^\x1b\[([0-9]*)([AJ])`)

// show returns what a person sees: the lines of the screen, whose number is
// unlimited. A control sequence that no bar needs is an error.
func (term *terminal) show(t *testing.T) string {
	t.Helper()
	lines, row := []string{""}, 0
	for s := term.raw(); s != ""; {
		if m := sequence.FindStringSubmatch(s); m != nil {
			switch n, _ := strconv.Atoi(m[1]); m[2] {
			case "A":
				row = max(row-n, 0)
			case "J":
				lines = append(lines[:row:row], "")
			}
			s = s[len(m[0]):]
			continue
		}
		switch s[0] {
		case '\r':
		case '\n':
			if row++; row == len(lines) {
				lines = append(lines, "")
			}
		case '\x1b':
			t.Fatalf("unexpected control sequence at %.20q", s)
		default:
			lines[row] += s[:1]
		}
		s = s[1:]
	}
	return strings.Join(lines, "\n")
}

// await waits until the screen shows text, or does not.
func (term *terminal) await(t *testing.T, text string, want bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for strings.Contains(term.show(t), text) != want {
		if time.Now().After(deadline) {
			t.Fatalf("the screen with %q: want %v; it has\n%s\nmade by %q", text, want, term.show(t), term.raw())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func newOn(t *testing.T, term *terminal, vars map[string]string) *UI {
	t.Helper()
	return New(Streams{Err: term.tty, Getenv: env(vars)})
}

// noColour keeps escapes out of messages, so that the screen shows them.
var noColour = map[string]string{"NO_COLOR": "1", "TERM": "xterm"}

// settle waits until no more goroutines run than before.
func settle(t *testing.T, before int) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for runtime.NumGoroutine() > before {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<16)
			t.Fatalf("%d goroutines before, now %d:\n%s", before, runtime.NumGoroutine(), buf[:runtime.Stack(buf, true)])
		}
		time.Sleep(time.Millisecond)
	}
}

func TestBar(t *testing.T) {
	term := openTerminal(t, 80)
	u := newOn(t, term, noColour)
	before := runtime.NumGoroutine()

	task := u.Progress(context.Background(), 3, "hello:latest")
	task.Start(1, "/nix/store/abc-libc-2.39")
	term.await(t, "hello:latest [----------------------] 0/3  0 B  /nix/store/abc-libc-2.39", true)
	task.Start(2, "evil\x1b[31m\n")
	term.await(t, `0/3  0 B  evil\x1b[31m\n`, true)
	u.Warn("something is odd")
	term.await(t, "varve: warning: something is odd\nhello:latest [", true)
	task.Done(2, 12_400_000, tally.Work{})
	term.await(t, "1/3  12.4 MB  /nix/store/abc-libc-2.39", true)
	task.SetTotal(4)
	term.await(t, "1/4", true)
	u.Error(errors.New("no space"), "make some")
	task.Finish()
	u.Info("bye")
	task.Done(1, 1, tally.Work{})

	want := "varve: warning: something is odd\nvarve: no space\n  hint: make some\nbye\n"
	term.await(t, "bye", true)
	if got := term.show(t); got != want {
		t.Errorf("the screen at the end:\n%q\nwant\n%q", got, want)
	}
	settle(t, before)
}

func TestBarEndsWithContext(t *testing.T) {
	term := openTerminal(t, 80)
	u := newOn(t, term, noColour)
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	task := u.Progress(ctx, 3, "hello")
	term.await(t, "0/3", true)
	cancel()
	term.await(t, "0/3", false)
	settle(t, before)
	task.Done(1, 1, tally.Work{})
	task.SetTotal(7)
	task.Finish()

	// The next task has its bar again; one beside it has none.
	task = u.Progress(context.Background(), 5, "")
	second := u.Progress(context.Background(), 9, "")
	term.await(t, "0/5", true)
	second.Done(1, 1, tally.Work{})
	second.Finish()
	task.Finish()
	term.await(t, "0/5", false)
	if strings.Contains(term.raw(), "/9") {
		t.Errorf("two bars: %q", term.raw())
	}
	if got := term.show(t); strings.TrimSpace(got) != "" {
		t.Errorf("left on the screen: %q", got)
	}
	settle(t, before)
}

func TestBarWidths(t *testing.T) {
	for _, columns := range []uint16{0, 10, 40, 60, 200} {
		t.Run(fmt.Sprint(columns), func(t *testing.T) {
			term := openTerminal(t, columns)
			u := newOn(t, term, noColour)
			task := u.Progress(context.Background(), 3, strings.Repeat("t", 100))
			defer task.Finish()
			task.Start(1, strings.Repeat("世", 300))
			term.await(t, "ttt", true)
			limit := int(columns)
			if columns == 0 {
				limit = 80
			}
			for line := range strings.Lines(term.show(t)) {
				line = strings.TrimSuffix(line, "\n")
				if n := len([]rune(line)) + strings.Count(line, "世"); n > limit {
					t.Errorf("a line of %d columns: %q", n, line)
				}
			}
		})
	}
}

func TestColour(t *testing.T) {
	tests := []struct {
		vars   map[string]string
		colour bool
		mode   string
	}{
		{map[string]string{"TERM": "xterm"}, true, "bar"},
		{map[string]string{"TERM": "xterm", "NO_COLOR": ""}, true, "bar"},
		{noColour, false, "bar"},
		{map[string]string{"TERM": "dumb"}, false, "plain"},
	}
	for _, tt := range tests {
		term := openTerminal(t, 80)
		u := newOn(t, term, tt.vars)
		u.Error(errors.New("no\x1b[0m"))
		for !strings.Contains(term.raw(), "\n") {
			time.Sleep(time.Millisecond)
		}
		want := "varve: no\\x1b[0m\r\n"
		if tt.colour {
			want = "\x1b[91mvarve:\x1b[0m no\\x1b[0m\r\n"
		}
		if got := term.raw(); got != want {
			t.Errorf("%v: %q, want %q", tt.vars, got, want)
		}
		if u.progress != tt.mode {
			t.Errorf("%v: progress %s, want %s", tt.vars, u.progress, tt.mode)
		}
	}
}

// hangUp is a terminal that can go away.
type hangUp struct {
	*os.File
	gone atomic.Bool
}

func (h *hangUp) Write(p []byte) (int, error) {
	if h.gone.Load() {
		return 0, unix.EIO
	}
	return h.File.Write(p)
}

// A terminal that goes away must not keep the program from ending.
func TestBarOnBrokenStream(t *testing.T) {
	term := openTerminal(t, 80)
	before := runtime.NumGoroutine()
	stream := &hangUp{File: term.tty}
	u := New(Streams{Err: stream, Getenv: env(noColour)})
	task := u.Progress(context.Background(), 3, "")
	term.await(t, "0/3", true)
	stream.gone.Store(true)
	time.Sleep(400 * time.Millisecond) // two draws fail
	task.Done(1, 1, tally.Work{})
	u.Warn("nobody hears this")
	task.Finish()
	settle(t, before)
}

// TestBarWithinLayer: the bar shows what is done before there are layers, and goes on within one.
func TestBarWithinLayer(t *testing.T) {
	term := openTerminal(t, 120)
	u := newOn(t, term, noColour)
	ctx := tally.With(context.Background())
	task := u.Progress(ctx, 0, "building hello")
	looking := tally.Begin(ctx, "looking at files", "", 0)
	term.await(t, "] looking at files\n", true)
	task.SetTotal(3)
	task.Start(1, "one")
	hashing := tally.Begin(ctx, "hashing", "/nix/store/abc-libc-2.39", 0)
	term.await(t, "0/3  hashing  /nix/store/abc-libc-2.39", true)
	for _, want := range []string{"0/3  hashing 400.0 MB  /nix", "0/3  hashing 800.0 MB  /nix"} {
		hashing.Add(400_000_000)
		term.await(t, want, true)
	}
	hashing.End()
	packing := tally.Begin(ctx, "compressing", "/nix/store/abc-libc-2.39", 1_200_000_000)
	packing.Add(300_000_000)
	term.await(t, "0/3  compressing 300.0 MB of 1.2 GB  /nix", true)
	packing.End()
	looking.End()
	term.await(t, "0/3  0 B  one", true)
	task.Finish()
}
