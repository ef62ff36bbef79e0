package cli

import (
	"io"

	"github.com/varve-image/varve/internal/assemble"
	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/internal/sandbox/userns"
	"github.com/varve-image/varve/internal/sandbox/vm"
	"github.com/varve-image/varve/spec"
)

// steps is how scripts of specs are run.
func (g *global) steps() assemble.Steps {
	return assemble.Steps{
		Runner:       g.runner,
		AllowNetwork: g.allowNetwork,
		Limits:       g.stepLimits.limits(),
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
