package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/varve-image/varve/build"
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
			return &sandbox.Lines{Show: func(line string) { g.ui.Info("%s: %s", name, line) }}
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
