package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// event is a line of go test -json: see "go doc test2json".
type event struct {
	Action     string
	Package    string
	ImportPath string
	Test       string
	Elapsed    float64
	Output     string
}

// test is a test, or if its name is empty, a package.
type test struct {
	pkg, name string
	output    []string
	hasSub    bool
	ended     bool
}

// summary counts tests as their events come in.
type summary struct {
	out    io.Writer
	ci     bool
	tests  map[string]*test
	builds map[string]*strings.Builder

	passed, failed, skipped int
	failures                []string
	skips                   []string
	slow                    []slowTest
	missing                 int
}

// slowTest is a leaf that took slowSeconds or longer, its pauses included.
type slowTest struct {
	name    string
	seconds float64
}

const (
	slowSeconds = 10.0
	slowShown   = 20
)

func newSummary(out io.Writer, ci bool) *summary {
	return &summary{out: out, ci: ci, tests: map[string]*test{}, builds: map[string]*strings.Builder{}}
}

// read reads all events. A line that is not an event is passed on.
func (s *summary) read(r io.Reader) error {
	br := bufio.NewReader(r)
	for {
		line, err := br.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) == nil && e.Action != "" {
				s.event(e)
			} else {
				fmt.Fprintf(s.out, "%s", line)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (s *summary) event(e event) {
	switch e.Action {
	case "build-output":
		if s.builds[e.ImportPath] == nil {
			s.builds[e.ImportPath] = &strings.Builder{}
		}
		s.builds[e.ImportPath].WriteString(e.Output)
		return
	case "build-fail":
		fmt.Fprintf(s.out, "--- does not build: %s\n", e.ImportPath)
		if b := s.builds[e.ImportPath]; b != nil {
			fmt.Fprint(s.out, b.String())
		}
		return
	}
	t := s.test(e.Package, e.Test)
	switch e.Action {
	case "run":
		if parent, _, ok := cutLast(e.Test); ok {
			s.test(e.Package, parent).hasSub = true
		}
	case "output":
		t.output = append(t.output, e.Output)
	case "pass", "fail", "skip":
		t.ended = true
		if e.Test == "" {
			s.endPackage(t, e)
		} else {
			s.endTest(t, e.Action)
			if !t.hasSub && e.Elapsed >= slowSeconds {
				s.slow = append(s.slow, slowTest{short(t.pkg) + " " + t.name, e.Elapsed})
			}
		}
	}
}

func (s *summary) test(pkg, name string) *test {
	key := pkg + "\x00" + name
	t := s.tests[key]
	if t == nil {
		t = &test{pkg: pkg, name: name}
		s.tests[key] = t
	}
	return t
}

func cutLast(name string) (parent, last string, ok bool) {
	i := strings.LastIndexByte(name, '/')
	if i < 0 {
		return "", name, false
	}
	return name[:i], name[i+1:], true
}

func (s *summary) endTest(t *test, action string) {
	switch {
	case action == "fail":
		// A parent that fails only because of a subtest is not a failure of its own.
		if !t.hasSub || !s.anyFailed(t) {
			s.fail(t, "FAIL")
		}
	case t.hasSub:
	case action == "skip":
		s.skipped++
		why := s.reason(t)
		if strings.Contains(why, "missing engine: ") {
			s.missing++
		}
		s.skips = append(s.skips, fmt.Sprintf("%s %s: %s", short(t.pkg), t.name, why))
	default:
		s.passed++
	}
	t.output = nil
}

// anyFailed reports whether a failure below t was counted.
func (s *summary) anyFailed(t *test) bool {
	prefix := short(t.pkg) + " " + t.name + "/"
	return slices.ContainsFunc(s.failures, func(f string) bool { return strings.HasPrefix(f, prefix) })
}

// fail counts a failure and prints its output.
func (s *summary) fail(t *test, verdict string) {
	s.failed++
	name := strings.TrimSpace(short(t.pkg) + " " + t.name)
	s.failures = append(s.failures, name)
	fmt.Fprintf(s.out, "--- %s: %s\n%s", verdict, name, strings.Join(t.output, ""))
}

// endPackage prints a package's line. One that failed with tests that did not
// end died in them; one that failed without a failed test failed itself.
func (s *summary) endPackage(t *test, e event) {
	if e.Action != "fail" {
		if e.Action == "pass" {
			fmt.Fprintf(s.out, "ok   %-40s %6.1fs\n", short(t.pkg), e.Elapsed)
		}
		return
	}
	before := s.failed
	var dead []*test
	for _, u := range s.tests {
		if u.pkg == t.pkg && u.name != "" && !u.ended {
			dead = append(dead, u)
		}
	}
	slices.SortFunc(dead, func(a, b *test) int { return strings.Compare(a.name, b.name) })
	for _, u := range dead {
		if !u.hasSub {
			s.fail(u, "did not end")
		}
	}
	own := slices.ContainsFunc(s.failures, func(f string) bool { return strings.HasPrefix(f, short(t.pkg)+" ") })
	if s.failed == before && !own {
		s.fail(t, "package failed")
	}
	fmt.Fprintf(s.out, "FAIL %-40s %6.1fs\n", short(t.pkg), e.Elapsed)
}

// reason returns the message of a skipped test.
func (s *summary) reason(t *test) string {
	var lines []string
	for _, o := range t.output {
		o = strings.TrimSpace(o)
		if o != "" && !strings.HasPrefix(o, "=== ") && !strings.HasPrefix(o, "--- ") {
			lines = append(lines, o)
		}
	}
	return strings.Join(lines, " ")
}

// finish prints the summary and reports whether the run is a success. ok is go
// test's own verdict.
func (s *summary) finish(ok bool) bool {
	slices.SortFunc(s.slow, func(a, b slowTest) int { return cmp.Compare(b.seconds, a.seconds) })
	for _, t := range s.slow[:min(len(s.slow), slowShown)] {
		fmt.Fprintf(s.out, "slow: %6.1fs %s\n", t.seconds, t.name)
	}
	for _, skip := range s.skips {
		fmt.Fprintf(s.out, "skipped: %s\n", skip)
	}
	for _, failure := range s.failures {
		fmt.Fprintf(s.out, "failed: %s\n", failure)
	}
	if ran := s.passed + s.failed; ran == 0 {
		fmt.Fprintln(s.out, "no test ran")
		ok = false
	}
	if s.ci && s.missing > 0 {
		fmt.Fprintf(s.out, "%d tests were skipped because an engine is missing: under CI=true that is a failure\n", s.missing)
		ok = false
	}
	if !ok && s.failed == 0 && s.passed > 0 {
		fmt.Fprintln(s.out, "the run failed, though no test did")
	}
	fmt.Fprintln(s.out, s.counts())
	return ok && s.failed == 0
}

func (s *summary) counts() counts { return counts{s.passed, s.failed, s.skipped} }

// short returns a package's path without the module's.
func short(pkg string) string {
	return strings.TrimPrefix(pkg, "github.com/varve-image/varve/")
}
