//go:build amd64

package vm

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/varve-image/varve/internal/sandbox"
)

// says returns the bytes that a guest sends for these frames.
func says(frames ...string) []byte {
	var all bytes.Buffer
	w := &frameWriter{w: &all}
	for _, f := range frames {
		if err := w.write(f[0], []byte(f[1:])); err != nil {
			panic(err)
		}
	}
	return all.Bytes()
}

// listen lets the host listen to a guest, and returns the result and what the step wrote.
func listen(t testing.TB, limits sandbox.Limits, guest io.Reader) (*report, string, error) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	var out bytes.Buffer
	boot := time.AfterFunc(time.Hour, func() {})
	defer boot.Stop()
	c := &conversation{step: &sandbox.Step{Name: "test", Limits: limits, Stdout: &out, Stderr: &out}, cancel: cancel, changes: 1 << 20}
	rep, err := c.read(ctx, struct {
		io.Reader
		io.Writer
	}{guest, io.Discard}, boot)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return rep, out.String(), err
}

const hello = string(frameHello)

// TestConversation: what a guest may say; everything else is a failure.
func TestConversation(t *testing.T) {
	rep, out, err := listen(t, sandbox.Limits{}, bytes.NewReader(says(hello, "oa\n", "eb\n", "oc\n", `r{"Changes":1024}`, "ojunk")))
	if err != nil || rep.Changes != 1024 || out != "a\nb\nc\n" {
		t.Errorf("report %+v, output %q, %v", rep, out, err)
	}
	if rep, _, err := listen(t, sandbox.Limits{}, bytes.NewReader(says(hello, `r{"ExitCode":-1,"Signal":9}`))); err != nil || rep.Signal != 9 {
		t.Errorf("report %+v, %v", rep, err)
	}
	for name, guest := range map[string][]byte{
		"nothing":                    {},
		"a report before hello":      says(`r{"Changes":1024}`),
		"output before hello":        says("ox", hello, `r{"Changes":1024}`),
		"hello that says more":       says("hello", `r{"Changes":1024}`),
		"hello twice":                says(hello, hello, `r{"Changes":1024}`),
		"hello late":                 says(hello, "ox", hello, `r{"Changes":1024}`),
		"empty output":               says(hello, "o", `r{"Changes":1024}`),
		"empty error output":         says(hello, "e", `r{"Changes":1024}`),
		"a question":                 says(hello, `q{"Op":"stat"}`),
		"what the host sends":        says(hello, "ix"),
		"no report":                  says(hello, "ox"),
		"a frame that is cut":        says(hello, "oxyz")[:13],
		"a head that is cut":         says(hello, "oxyz")[:7],
		"a long frame":               append(says(hello), 'o', 1, 0, 1, 0),
		"null":                       says(hello, "rnull"),
		"an empty report":            says(hello, "r"),
		"a report of nothing":        says(hello, "r{}"),
		"a list":                     says(hello, "r[]"),
		"two reports in one":         says(hello, `r{"Changes":1024}{"Changes":1}`),
		"an unknown field":           says(hello, `r{"Changes":1024,"More":1}`),
		"more changes than allowed":  says(hello, `r{"Changes":1048577}`),
		"fewer changes than none":    says(hello, `r{"Changes":-1}`),
		"very many changes":          says(hello, `r{"Changes":9223372036854775808}`),
		"an exit code of none":       says(hello, `r{"ExitCode":256}`),
		"an exit code below 0":       says(hello, `r{"ExitCode":-1}`),
		"no such signal":             says(hello, `r{"ExitCode":-1,"Signal":65}`),
		"exit code and signal":       says(hello, `r{"ExitCode":1,"Signal":9}`),
		"failure and changes":        says(hello, `r{"ExitCode":1,"Changes":1024}`),
		"failure and error":          says(hello, `r{"ExitCode":1,"Error":"x"}`),
		"a file without limit":       says(hello, `r{"Changes":1024,"File":"x","Size":1}`),
		"a file of another limit":    says(hello, `r{"Limit":"memory","File":"x","Size":1}`),
		"missing nothing":            says(hello, `r{"Changes":1024,"Missing":true}`),
		"the host's limit":           says(hello, `r{"Limit":"time"}`),
		"a limit that there is not":  says(hello, `r{"Limit":"patience"}`),
		"very deep":                  says(hello, "r"+strings.Repeat(`{"Error":`, 7000)),
		"the beginning of a report":  says(hello, `r{"Changes":102`),
		"a report of the wrong type": says(hello, `r{"Changes":"1024"}`),
	} {
		rep, _, err := listen(t, sandbox.Limits{}, bytes.NewReader(guest))
		if err == nil {
			t.Errorf("%s: report %+v, want an error", name, rep)
		} else if len(err.Error()) > 1000 {
			t.Errorf("%s: an error of %d bytes", name, len(err.Error()))
		}
	}
}

// TestReportText: what a guest writes into an error is quoted and limited.
func TestReportText(t *testing.T) {
	text, err := json.Marshal(report{Error: "\x1b[2J" + strings.Repeat("x", 6*maxError)})
	must(t, err)
	rep, _, err := listen(t, sandbox.Limits{}, bytes.NewReader(says(hello, "r"+string(text))))
	must(t, err)
	got := rep.err(&sandbox.Step{Name: "test"}, nil).Error()
	if strings.Contains(got, "\x1b") || len(got) > 2*maxError {
		t.Errorf("an error of %d bytes: %.100q", len(got), got)
	}
}

// endless repeats what a guest says for ever.
type endless struct {
	data []byte
	at   int
	read int64
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.data[e.at:])
	e.at = (e.at + n) % len(e.data)
	e.read += int64(n)
	return n, nil
}

// TestEndless: endless output is read only as far as the step may write, and takes no
// memory.
func TestEndless(t *testing.T) {
	for name, data := range map[string][]byte{
		"empty output": says("o"), "empty errors": says("e"), "hello": says(hello), "null": says("rnull"), "zeros": make([]byte, 1000),
		"lines": says("o" + strings.Repeat("\n", maxFrame)), "a line": says("e" + strings.Repeat("x", maxFrame)), "bytes": says("ox"),
	} {
		guest := &endless{data: data}
		before := heap()
		_, out, err := listen(t, sandbox.Limits{Output: 4 << 20}, io.MultiReader(bytes.NewReader(says(hello)), guest))
		var limit *sandbox.LimitError
		writes := name == "lines" || name == "a line" || name == "bytes"
		if err == nil || errors.As(err, &limit) != writes || !writes && guest.read > 1<<10 {
			t.Errorf("%s: %v after %d bytes", name, err, guest.read)
		}
		if len(out) > 4<<20 {
			t.Errorf("%s: %d bytes of output", name, len(out))
		}
		if grown := heap() - before; grown > 8<<20 {
			t.Errorf("%s: it grew by %d MiB", name, grown>>20)
		}
	}
}

// TestFrames: a frame that is too long, or cut, is an error, and takes no memory.
func TestFrames(t *testing.T) {
	var long [5]byte
	binary.LittleEndian.PutUint32(long[1:], 1<<31)
	for name, in := range map[string][]byte{"too long": long[:], "cut": {'o', 9, 0, 0, 0, 'x'}, "cut head": {'o', 9}} {
		if _, _, err := readFrame(bytes.NewReader(in), make([]byte, maxFrame)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, _, err := readFrame(strings.NewReader(""), nil); err != io.EOF {
		t.Errorf("nothing: %v, want io.EOF", err)
	}
}

// FuzzConversation: a guest can never crash the host, and a report follows a hello and is
// one that a step can have.
func FuzzConversation(f *testing.F) {
	f.Add(says(hello, "oa\n", "eb\n", `r{"Changes":1024}`))
	f.Add(says(hello, `r{"ExitCode":-1,"Signal":9}`))
	f.Add(says(hello, `r{"Limit":"disk","File":"x","Size":1}`))
	f.Add(says(hello, `r{"Error":"x","Missing":true}`))
	f.Add(says(hello, "rnull"))
	f.Add(says(hello, "o"))
	f.Add(says(`r{"Changes":1024}`))
	f.Fuzz(func(t *testing.T, guest []byte) {
		rep, out, err := listen(t, sandbox.Limits{Output: 100}, bytes.NewReader(guest))
		if len(out) > 100 {
			t.Errorf("%d bytes of output", len(out))
		}
		if err != nil {
			return
		}
		if !bytes.HasPrefix(guest, says(hello)) {
			t.Errorf("%q is not a hello, and there is the report %+v", guest, rep)
		}
		if ok := rep.err(&sandbox.Step{Name: "test"}, nil) == nil; ok != (rep.Changes > 0) || rep.Changes > 1<<20 {
			t.Errorf("report %+v", rep)
		}
	})
}
