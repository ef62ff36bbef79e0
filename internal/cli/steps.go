package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/varve-image/varve/build"
	"github.com/varve-image/varve/internal/ui"
	"github.com/varve-image/varve/sandbox"
	"github.com/varve-image/varve/sandbox/userns"
	"github.com/varve-image/varve/sandbox/vm"
	"github.com/varve-image/varve/spec"
)

// steps is how scripts of specs are run.
func (g *global) steps() build.Steps {
	return build.Steps{
		Runner:       g.runner,
		AllowNetwork: g.allowNetwork,
		Output: func(name string) io.WriteCloser {
			return &stepOutput{ui: g.ui, prefix: name + ": "}
		},
	}
}

// runner returns what runs steps in a kind of isolation.
func (g *global) runner(i spec.Isolation) (sandbox.Runner, error) {
	opts := sandbox.Options{TempDir: g.tempDir()}
	if i == spec.VM {
		return vm.New(vm.Options{Options: opts, Kernel: g.vmKernel}), nil
	}
	return userns.New(opts), nil
}

// stepOutput shows the lines that a step writes, each behind the step's name.
type stepOutput struct {
	ui     *ui.UI
	prefix string
	line   []byte // what of a line has come so far
}

// maxOutputLine bounds a line; the rest of one that is longer is on the next.
const maxOutputLine = 4096

func (o *stepOutput) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		end := min(len(p), maxOutputLine-len(o.line))
		next := end
		if i := bytes.IndexByte(p[:end], '\n'); i >= 0 {
			end, next = i, i+1
		}
		o.line = append(o.line, p[:end]...)
		if next > end || len(o.line) == maxOutputLine {
			o.show()
		}
		p = p[next:]
	}
	return n, nil
}

func (o *stepOutput) show() {
	o.ui.Info("%s%s", o.prefix, bytes.TrimSuffix(o.line, []byte("\r")))
	o.line = o.line[:0]
}

// Close shows a last line that did not end.
func (o *stepOutput) Close() error {
	if len(o.line) > 0 {
		o.show()
	}
	return nil
}

// explainStep adds to the error of a step the end of its output, or what to
// change on the machine.
func explainStep(err error) (explained error, hints []string) {
	var (
		failed  *sandbox.StepError
		limit   *sandbox.LimitError
		missing *sandbox.MissingError
	)
	switch {
	case errors.As(err, &failed):
		return withLastLines(err, failed.LastLines), nil
	case errors.As(err, &limit):
		return withLastLines(err, limit.LastLines), nil
	case errors.As(err, &missing):
		return err, missing.Hints
	}
	return err, nil
}

func withLastLines(err error, lines []string) error {
	if len(lines) == 0 {
		return fmt.Errorf("%w\nit wrote nothing", err)
	}
	return fmt.Errorf("%w\nthe end of what it wrote:\n%s", err, strings.Join(lines, "\n"))
}
