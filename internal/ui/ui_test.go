package ui

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/varve-image/varve/internal/tally"
)

func env(pairs map[string]string) func(string) string {
	return func(name string) string { return pairs[name] }
}

// pieces is a stream that keeps each write apart.
type pieces struct {
	mu   sync.Mutex
	list []string
}

func (p *pieces) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = append(p.list, string(b))
	return len(b), nil
}

func mustNew(t *testing.T, w io.Writer, opts Options) *UI {
	t.Helper()
	u := New(Streams{Err: w})
	if err := u.Use(opts); err != nil {
		t.Fatal(err)
	}
	return u
}

// say calls every kind of message once.
func say(u *UI) {
	u.Debug("reading %d paths", 3)
	u.Info("wrote %q", "a.tar")
	u.Warn("no layer for %s", "x")
	u.Error(errors.New("read \"a\": gone\nread \"b\": gone"), "try again", "or not")
}

func TestTextMessages(t *testing.T) {
	const (
		debug = "debug: reading 3 paths\n"
		info  = "wrote \"a.tar\"\n"
		rest  = "varve: warning: no layer for x\n" +
			"varve: read \"a\": gone\n  read \"b\": gone\n  hint: try again\n  hint: or not\n"
	)
	tests := []struct {
		name string
		opts Options
		want string
	}{
		{"default", Options{}, info + rest},
		{"text", Options{LogFormat: "text", Now: time.Now}, info + rest},
		{"quiet", Options{Quiet: true}, rest},
		{"verbose", Options{Verbose: 1}, debug + info + rest},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			say(mustNew(t, &out, tt.opts))
			if out.String() != tt.want {
				t.Errorf("got\n%s\nwant\n%s", out.String(), tt.want)
			}
		})
	}
}

func TestJSONMessages(t *testing.T) {
	var out bytes.Buffer
	say(mustNew(t, &out, Options{LogFormat: "json"}))
	want := `{"level":"INFO","msg":"wrote \"a.tar\""}
{"level":"WARN","msg":"no layer for x"}
{"level":"ERROR","msg":"read \"a\": gone\nread \"b\": gone","hints":["try again","or not"]}
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	out.Reset()
	now := func() time.Time { return time.Unix(0, 0).UTC() }
	mustNew(t, &out, Options{LogFormat: "json", Now: now}).Info("x")
	if want := `{"time":"1970-01-01T00:00:00Z","level":"INFO","msg":"x"}` + "\n"; out.String() != want {
		t.Errorf("got %s want %s", out.String(), want)
	}
}

func TestMessagesAreOneWrite(t *testing.T) {
	for _, format := range LogFormats() {
		var out pieces
		say(mustNew(t, &out, Options{LogFormat: format}))
		if len(out.list) != 3 {
			t.Errorf("%s: 3 messages in %d writes: %q", format, len(out.list), out.list)
		}
	}
}

const hostile = "a\x1b]0;title\ab\x1b[2Jc\rd\u009b2Je\u202ef\xffg\x7fh\x00i\u2028\uFFFDé世"
const harmless = `a\x1b]0;title\ab\x1b[2Jc\rd\u009b2Je\u202ef\xffg\x7fh\x00i\u2028` + "\uFFFDé世"

func TestHostileStrings(t *testing.T) {
	for _, format := range LogFormats() {
		var out bytes.Buffer
		u := mustNew(t, &out, Options{LogFormat: format, Progress: "plain"})
		u.Info("%s", hostile)
		u.Error(errors.New(hostile), hostile+"\nvarve: forged")
		task := u.Progress(context.Background(), 1, hostile)
		task.Start(1, hostile+"\nvarve: forged")
		task.Done(1, 1, tally.Work{})
		task.Finish()
		want := harmless
		if format == "json" {
			want = strings.ReplaceAll(harmless, `\`, `\\`)
		}
		if got := strings.Count(out.String(), want); got != 3+b2i(format == "text") {
			// The progress line is plain text in both formats.
			t.Errorf("%s: the harmless form is there %d times:\n%q", format, got, out.String())
		}
		for line := range strings.Lines(out.String()) {
			if strings.HasPrefix(line, "varve: forged") {
				t.Errorf("%s: forged line in %q", format, out.String())
			}
			if cleanLabel(strings.TrimSuffix(line, "\n")) != strings.TrimSuffix(line, "\n") {
				t.Errorf("%s: line %q would change the terminal", format, line)
			}
		}
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestUseRefuses(t *testing.T) {
	err := New(Streams{}).Use(Options{Progress: "bar\x1b", LogFormat: "xml", Quiet: true, Verbose: 1})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		`unknown progress "bar\x1b": choose one of auto, plain, json, none`,
		`unknown log format "xml": choose one of text, json`,
		"quiet and verbose",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q lacks %q", err, want)
		}
	}
}

func TestZeroStreams(t *testing.T) {
	say(New(Streams{}))
}

func TestProgressMode(t *testing.T) {
	tests := []struct {
		opts     Options
		terminal bool
		want     string
	}{
		{Options{}, true, "bar"},
		{Options{Progress: "auto"}, true, "bar"},
		{Options{}, false, "plain"},
		{Options{Quiet: true}, true, "none"},
		{Options{Quiet: true}, false, "none"},
		{Options{Quiet: true, Progress: "plain"}, true, "plain"},
		{Options{LogFormat: "json"}, true, "json"},
		{Options{LogFormat: "json", Progress: "none"}, true, "none"},
		{Options{Progress: "json"}, true, "json"},
	}
	for _, tt := range tests {
		if got := tt.opts.progressMode(tt.terminal); got != tt.want {
			t.Errorf("%+v, terminal %v: %s, want %s", tt.opts, tt.terminal, got, tt.want)
		}
	}
}

// layers makes three layers, whose number is set late, the first two at once; then
// what is too late to be shown.
func layers(task *Task) {
	task.Start(1, "/nix/store/abc-openssl-3.0.14 (+4 more)")
	task.Start(2, "a <b> & c")
	task.Done(2, 12_400_000, tally.Work{})
	task.SetTotal(3)
	task.Done(1, 999, tally.Work{})
	task.Done(3, 0, tally.Work{})
	task.Finish()
	task.Finish()
	task.Start(4, "late")
	task.SetTotal(4)
	task.Done(4, 1, tally.Work{})
}

func TestProgressLines(t *testing.T) {
	tests := map[string]string{
		"auto": "layer 2  12.4 MB  a <b> & c\n" +
			"layer 1/3  999 B  /nix/store/abc-openssl-3.0.14 (+4 more)\n" +
			"layer 3/3  0 B\n",
		"json": `{"event":"layer","layer":2,"bytes":12400000,"title":"a <b> & c"}` + "\n" +
			`{"event":"layer","layer":1,"layers":3,"bytes":999,"title":"/nix/store/abc-openssl-3.0.14 (+4 more)"}` + "\n" +
			`{"event":"layer","layer":3,"layers":3,"bytes":0,"title":""}` + "\n",
		"none": "",
	}
	tests["plain"] = tests["auto"]
	for mode, want := range tests {
		t.Run(mode, func(t *testing.T) {
			var out bytes.Buffer
			layers(mustNew(t, &out, Options{Progress: mode}).Progress(context.Background(), 0, "hello:latest"))
			if out.String() != want {
				t.Errorf("got\n%s\nwant\n%s", out.String(), want)
			}
		})
	}
}

func TestProgressStopsWithContext(t *testing.T) {
	var out pieces
	ctx, cancel := context.WithCancel(context.Background())
	task := mustNew(t, &out, Options{}).Progress(ctx, 2, "")
	task.Done(1, 1, tally.Work{})
	cancel()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		task.mu.Lock()
		ended := task.ended
		task.mu.Unlock()
		if ended {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the task outlives its context")
		}
	}
	task.Done(2, 1, tally.Work{})
	task.Finish()
	if len(out.list) != 1 {
		t.Errorf("got %q, want one line", out.list)
	}
}

func TestProgressConcurrent(t *testing.T) {
	var out pieces
	u := mustNew(t, &out, Options{Progress: "json"})
	task := u.Progress(context.Background(), 100, "")
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			task.Start(i+1, fmt.Sprint("label ", i))
			u.Info("message %d", i)
			task.Done(i+1, 1, tally.Work{})
		})
	}
	wg.Wait()
	task.Finish()
	seen := map[int]bool{}
	for _, piece := range out.list {
		if strings.HasPrefix(piece, "message ") {
			continue
		}
		var e event
		if err := json.Unmarshal([]byte(piece), &e); err != nil {
			t.Fatalf("%q: %v", piece, err)
		}
		if seen[e.Layer] || e.Title != fmt.Sprint("label ", e.Layer-1) {
			t.Errorf("line %q", piece)
		}
		seen[e.Layer] = true
	}
	if len(out.list) != 200 || len(seen) != 100 {
		t.Errorf("%d writes, %d layers", len(out.list), len(seen))
	}
}

func TestFit(t *testing.T) {
	const label = "/nix/store/abc-openssl-3.0.14"
	tests := []struct {
		width int
		want  string
	}{
		{100, "1/2  " + label},
		{5 + len(label), "1/2  " + label},
		{4 + len(label), "1/2  …ix/store/abc-openssl-3.0.14"},
		{20, "1/2  …openssl-3.0.14"},
		{13, "1/2  …-3.0.14"},
		{12, "1/2"},
		{-5, "1/2"},
	}
	for _, tt := range tests {
		if got := fit("1/2", label, tt.width); got != tt.want {
			t.Errorf("width %d: %q, want %q", tt.width, got, tt.want)
		}
	}
	if got := fit("1/2", "", 100); got != "1/2" {
		t.Errorf("without a label: %q", got)
	}
}

func FuzzClean(f *testing.F) {
	f.Add(hostile)
	f.Add(harmless)
	f.Fuzz(func(t *testing.T, s string) {
		if got := cleanLabel(s); got != cleanLabel(got) || strings.ContainsAny(got, "\n\x1b") {
			t.Errorf("cleanLabel(%q) = %q", s, got)
		}
		if got := cleanText(s); strings.Count(got, "\n") != strings.Count(s, "\n") {
			t.Errorf("cleanText(%q) = %q", s, got)
		}
	})
}

// TestAdvise: advice is a warning that is written once, and that Quiet leaves out.
func TestAdvise(t *testing.T) {
	for _, quiet := range []bool{false, true} {
		var out bytes.Buffer
		u := mustNew(t, &out, Options{Quiet: quiet})
		u.Advise("%q is odd", "x")
		u.Advise("%s is odd", `"x"`)
		want := "varve: warning: \"x\" is odd\n"
		if quiet {
			want = ""
		}
		if out.String() != want {
			t.Errorf("quiet %v: got %q, want %q", quiet, out.String(), want)
		}
	}
}

// TestTotal: the lines of --progress json have what was done to each layer, and the last one the
// sum.
func TestTotal(t *testing.T) {
	ctx := tally.With(context.Background())
	for _, mode := range ProgressModes() {
		var out bytes.Buffer
		u := mustNew(t, &out, Options{Progress: mode})
		u.Total(tally.From(ctx))
		if out.Len() > 0 {
			t.Errorf("%s: %q without a task", mode, out.String())
		}
	}
	n := tally.From(ctx)
	n.Add(tally.Hashed, 1, 100, 3)
	n.Add(tally.Sent, 1, 10, 0)
	n.Add(tally.Reused, 2, 200, 4)
	n.Add(tally.Skipped, 2, 20, 0)
	n.Add(tally.Mounted, 3, 30, 0)
	var out bytes.Buffer
	u := mustNew(t, &out, Options{Progress: "json"})
	task := u.Progress(ctx, 2, "")
	task.Done(1, 100, n.Work(1))
	task.Done(2, 200, n.Work(2))
	task.Finish()
	u.Total(n)
	want := `{"event":"layer","layer":1,"layers":2,"bytes":100,"hashed":100,"sent":10,"title":""}
{"event":"layer","layer":2,"layers":2,"bytes":200,"reused":200,"skipped":20,"title":""}
{"event":"total","hashed":{"layers":1,"files":3,"bytes":100},"compressed":{"layers":0,"bytes":0},` +
		`"reused":{"layers":1,"files":4,"bytes":200},"sent":{"layers":1,"bytes":10},` +
		`"skipped":{"layers":1,"bytes":20},"mounted":{"layers":1,"bytes":30}}
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}
