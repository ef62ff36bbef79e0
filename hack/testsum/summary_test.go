package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

const pkg = "github.com/varve-image/varve/p"

func ev(action, test string) event {
	return event{Action: action, Package: pkg, Test: test}
}

func said(test, output string) event {
	return event{Action: "output", Package: pkg, Test: test, Output: output}
}

func TestSummary(t *testing.T) {
	for _, c := range []struct {
		name   string
		ci     bool
		goTest bool
		events []event
		ok     bool
		last   string
		has    []string
	}{
		{
			name: "leaves count", goTest: true, ok: true, last: "3 passed, 0 failed, 0 skipped",
			events: []event{
				ev("run", "A"), ev("run", "A/x"), ev("run", "A/x/y"), ev("pass", "A/x/y"), ev("pass", "A/x"),
				ev("run", "A/z"), ev("pass", "A/z"), ev("pass", "A"), ev("run", "B"), ev("pass", "B"), ev("pass", ""),
			},
		},
		{
			name: "slow ones are named, slowest first", goTest: true, ok: true, last: "3 passed, 0 failed, 0 skipped",
			has: []string{"slow:   99.0s p B\nslow:   10.0s p A\n3 passed"},
			events: []event{
				{Action: "pass", Package: pkg, Test: "A", Elapsed: 10},
				{Action: "pass", Package: pkg, Test: "B", Elapsed: 99},
				{Action: "pass", Package: pkg, Test: "C", Elapsed: 9.9},
				{Action: "pass", Package: pkg, Elapsed: 120},
			},
		},
		{
			name: "a failed subtest is one failure", last: "1 passed, 1 failed, 0 skipped",
			has: []string{"reason\n", "failed: p A/x"},
			events: []event{
				ev("run", "A"), ev("run", "A/x"), said("A/x", "reason\n"), ev("fail", "A/x"),
				ev("run", "A/y"), ev("pass", "A/y"), ev("fail", "A"), ev("fail", ""),
			},
		},
		{
			name: "a parent fails by itself", last: "1 passed, 1 failed, 0 skipped", has: []string{"failed: p A\n"},
			events: []event{ev("run", "A"), ev("run", "A/x"), ev("pass", "A/x"), ev("fail", "A"), ev("fail", "")},
		},
		{
			name: "a death", last: "1 passed, 1 failed, 0 skipped", has: []string{"did not end: p B", "panic: oh\n"},
			events: []event{
				ev("run", "A"), ev("pass", "A"), ev("run", "B"), said("B", "panic: oh\n"), ev("fail", ""),
			},
		},
		{
			name: "does not build", last: "0 passed, 1 failed, 0 skipped", has: []string{"a.go:1: bad\n", "failed: p\n"},
			events: []event{
				{Action: "build-output", ImportPath: pkg, Output: "a.go:1: bad\n"},
				{Action: "build-fail", ImportPath: pkg}, ev("fail", ""),
			},
		},
		{
			name: "a skip is named", goTest: true, ok: true, last: "1 passed, 0 failed, 1 skipped",
			has: []string{"skipped: p B: a_test.go:1: missing engine: nix\n"},
			events: []event{
				ev("run", "A"), ev("pass", "A"), ev("run", "B"), said("B", "=== RUN   B\n"),
				said("B", "    a_test.go:1: missing engine: nix\n"), said("B", "--- SKIP: B\n"), ev("skip", "B"), ev("pass", ""),
			},
		},
		{
			name: "a missing engine in CI", ci: true, goTest: true, last: "1 passed, 0 failed, 1 skipped",
			events: []event{
				ev("run", "A"), ev("pass", "A"), ev("run", "B"), said("B", "missing engine: nix\n"), ev("skip", "B"), ev("pass", ""),
			},
		},
		{name: "another skip in CI", ci: true, goTest: true, ok: true, last: "1 passed, 0 failed, 1 skipped", events: []event{
			ev("run", "A"), ev("pass", "A"), ev("run", "B"), said("B", "not on darwin\n"), ev("skip", "B"), ev("pass", ""),
		}},
		{name: "nothing ran", goTest: true, last: "0 passed, 0 failed, 0 skipped", events: []event{ev("skip", "")}},
		{name: "go test failed", last: "1 passed, 0 failed, 0 skipped", events: []event{ev("run", "A"), ev("pass", "A")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var in, out bytes.Buffer
			in.WriteString("not an event\n")
			for _, e := range c.events {
				if err := json.NewEncoder(&in).Encode(e); err != nil {
					t.Fatal(err)
				}
			}
			s := newSummary(&out, c.ci)
			if err := s.read(&in); err != nil {
				t.Fatal(err)
			}
			if ok := s.finish(c.goTest); ok != c.ok {
				t.Errorf("success: %v, want %v", ok, c.ok)
			}
			if !strings.HasSuffix(out.String(), "\n"+c.last+"\n") {
				t.Errorf("the last line is not %q:\n%s", c.last, out.String())
			}
			for _, want := range append(c.has, "not an event\n") {
				if !strings.Contains(out.String(), want) {
					t.Errorf("no %q in:\n%s", want, out.String())
				}
			}
		})
	}
}
