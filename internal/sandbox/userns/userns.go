// Package userns runs steps in namespaces of the Linux kernel: for any user,
// with nothing installed.
//
// Guarantees, besides those of package sandbox:
//
//   - A step has user, mount, pid, IPC, UTS, network and cgroup namespaces of its
//     own, /proc, /dev and /sys of these, no privilege that could be gained back
//     (no_new_privs), no capability over anything but its tree, and a filter that
//     refuses the system calls by which kernels are attacked.
//   - No path of the tree is resolved before it is the root directory of the process
//     that resolves it.
//   - No process of a step runs as the kernel's user 0, not even if root runs it; and
//     no settings of the kernel can be opened for writing.
//
// The program runs itself again as the first process of the namespaces, and once more as
// the process that becomes the step's program. So its main function, and the main function
// of tests, has to begin with
//
//	if code, ok := userns.Main(); ok {
//		os.Exit(code)
//	}
//
// A function's package says in which process it runs: this package is the caller's process,
// first and program are the other two, and protocol defines what they say to each other.
//
// Linux 5.12 or later is needed.
package userns

import (
	"context"

	"github.com/varve-image/varve/internal/sandbox"
)

// Runner runs steps in namespaces.
type Runner struct {
	opts sandbox.Options
}

// New returns a Runner.
func New(opts sandbox.Options) *Runner { return &Runner{opts: opts} }

var _ sandbox.Runner = (*Runner)(nil)

// Run runs a step; see sandbox.Runner.
func (r *Runner) Run(ctx context.Context, step *sandbox.Step) (*sandbox.Result, error) {
	if err := step.Check(); err != nil {
		return nil, err
	}
	result, err := r.run(ctx, step)
	if ctxErr := context.Cause(ctx); ctxErr != nil && err != nil {
		return nil, ctxErr
	}
	return result, err
}
