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
func (c *command) registerSteps(cmd *cobra.Command) {
	scriptGroup.Add(cmd, func(f *pflag.FlagSet) {
		f.BoolVar(&c.allowNetwork, "allow-network", false, "let scripts use this machine's network where the spec asks for it")
		f.StringVar(&c.vmKernel, "vm-kernel", "", "`FILE`: the kernel of the virtual machine, for isolation: vm")
		cmdline.ShowDefault(f, "vm-kernel", "the newest in /boot")
		c.stepLimits.register(f)
	})
}

// steps says how scripts of specs are run.
func (c *command) steps() assemble.Steps {
	return assemble.Steps{
		Runner:       c.runner,
		AllowNetwork: c.allowNetwork,
		Limits:       c.stepLimits.limits(),
		Output: func(name string) io.WriteCloser {
			return &sandbox.Lines{Show: func(line string) { c.ui.Info("%s: %s", name, line) }}
		},
		Reused: func(name string) {
			c.ui.Info("%s: not run: nothing that it sees has changed since it last ran (--no-cache runs it)", name)
		},
	}
}

// runner returns the runner for a kind of isolation.
func (c *command) runner(i spec.Isolation) (sandbox.Runner, error) {
	opts := sandbox.Options{TempDir: c.tempDir()}
	if i == spec.VM {
		return vm.New(vm.Options{Options: opts, Kernel: c.vmKernel}), nil
	}
	return userns.New(opts), nil
}
