// Testsum runs "go test -json …" and summarises its output: each package as it
// ends, the output of what failed, the name of each test that was skipped and why,
// and the slowest tests. Its last line is
//
//	N passed, N failed, N skipped
//
// where a test with subtests does not count beside them, and a package that
// does not build or dies counts as one failure. It exits with 1 if anything
// failed or nothing ran, and under CI=true also if a test was skipped because
// the machine lacks something.
//
//	go run ./hack/testsum go test -json ./...
//
// Several runs count together if TESTSUM_COUNTS names a file, to which each appends its
// last line, and
//
//	go run ./hack/testsum -total FILE
//
// prints what they come to.
package main

import (
	"fmt"
	"os"
	"os/exec"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: testsum go test -json ARGUMENT...\n       testsum -total FILE")
		os.Exit(2)
	}
	if len(os.Args) == 3 && os.Args[1] == "-total" {
		if err := printTotal(os.Args[2]); err != nil {
			fmt.Fprintf(os.Stderr, "testsum: add tests up: %v\n", err)
			os.Exit(1)
		}
		return
	}
	cmd := exec.Command(os.Args[1], os.Args[2:]...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "testsum: run %q: %v\n", os.Args[1], err)
		os.Exit(1)
	}
	s := newSummary(os.Stdout, os.Getenv("CI") == "true")
	readErr := s.read(out)
	if readErr != nil {
		fmt.Fprintf(os.Stderr, "testsum: read the tests' output: %v\n", readErr)
		_ = cmd.Process.Kill()
	}
	waitErr := cmd.Wait()
	ok := s.finish(readErr == nil && waitErr == nil)
	if err := appendCounts(os.Getenv(countsVariable), s.counts()); err != nil {
		fmt.Fprintf(os.Stderr, "testsum: note how many tests there were: %v\n", err)
		ok = false
	}
	if !ok {
		os.Exit(1)
	}
}
