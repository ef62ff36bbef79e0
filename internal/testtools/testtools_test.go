package testtools

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// recorder notes how a test was ended, and ends its goroutine as testing does.
type recorder struct {
	testing.TB
	verdict, message string
}

func (r *recorder) Helper() {}

func (r *recorder) Skipf(format string, args ...any) { r.end("skip", format, args) }

func (r *recorder) Fatalf(format string, args ...any) { r.end("fail", format, args) }

func (r *recorder) end(verdict, format string, args []any) {
	r.verdict, r.message = verdict, fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func record(f func(t testing.TB)) *recorder {
	r := &recorder{verdict: "went on"}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(r)
	}()
	<-done
	return r
}

func TestNeed(t *testing.T) {
	dir := t.TempDir()
	tool := filepath.Join(dir, "engine")
	if err := os.WriteFile(tool, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	for _, c := range []struct{ tool, ci, want string }{
		{"engine", "", "went on"},
		{"engine", "true", "went on"},
		{"no-such-engine", "", "skip"},
		{"no-such-engine", "false", "skip"},
		{"no-such-engine", "true", "fail"},
	} {
		t.Setenv("CI", c.ci)
		var path string
		r := record(func(t testing.TB) { path = Need(t, c.tool) })
		if r.verdict != c.want {
			t.Errorf("Need(%q) under CI=%q: %s, want %s", c.tool, c.ci, r.verdict, c.want)
		}
		if c.want == "went on" && path != tool {
			t.Errorf("Need(%q) = %q, want %q", c.tool, path, tool)
		}
		if c.want != "went on" && !strings.HasPrefix(r.message, Missing+c.tool) {
			t.Errorf("Need(%q) says %q", c.tool, r.message)
		}
	}
}

func TestNeedRoot(t *testing.T) {
	want := "skip"
	if os.Geteuid() == 0 {
		want = "went on"
	}
	t.Setenv("CI", "")
	if r := record(NeedRoot); r.verdict != want {
		t.Errorf("NeedRoot: %s, want %s", r.verdict, want)
	}
}
