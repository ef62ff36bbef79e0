package cli

import (
	"io"

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
