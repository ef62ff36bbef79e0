package cli

import (
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/varve-image/varve/internal/assemble"
	"github.com/varve-image/varve/internal/cmdline"
	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/internal/sandbox/userns"
	"github.com/varve-image/varve/internal/sandbox/vm"
	"github.com/varve-image/varve/spec"
)

// registerSteps adds the flags of the commands that run scripts.
func (g *global) registerSteps(cmd *cobra.Command) {
	scriptGroup.Add(cmd, func(f *pflag.FlagSet) {
		f.BoolVar(&g.allowNetwork, "allow-network", false, "let scripts use this machine's network where the spec asks for it")
		f.StringVar(&g.vmKernel, "vm-kernel", "", "`FILE`: the kernel of the virtual machine, for isolation: vm")
		cmdline.ShowDefault(f, "vm-kernel", "the newest in /boot")
		g.stepLimits.register(f)
	})
}

// steps says how scripts of specs are run.
func (g *global) steps() assemble.Steps {
	return assemble.Steps{
		Runner:       g.runner,
		AllowNetwork: g.allowNetwork,
		Limits:       g.stepLimits.limits(),
		Output: func(name string) io.WriteCloser {
			return &sandbox.Lines{Show: func(line string) { g.ui.Info("%s: %s", name, line) }}
		},
		Reused: func(name string) {
			g.ui.Info("%s: not run: nothing that it sees has changed since it last ran (--no-cache runs it)", name)
		},
	}
}

// runner returns the runner for a kind of isolation.
func (g *global) runner(i spec.Isolation) (sandbox.Runner, error) {
	opts := sandbox.Options{TempDir: g.tempDir()}
	if i == spec.VM {
		return vm.New(vm.Options{Options: opts, Kernel: g.vmKernel}), nil
	}
	return userns.New(opts), nil
}
