// Package vm runs steps in a virtual machine: a kernel of its own stands between a step and
// the machine.
//
// Guarantees, besides those of package sandbox:
//
//   - The virtual machine has a disk, a memory and a processor, and no network
//     card. Of the machine's files it gets the tree, what Step names, and a kernel.
//   - Inside, the step is run by package userns, so that its result is the same as
//     there: what a guest sends back is still treated as hostile input.
//   - None of its files has a name in the file system, so that nothing is left when
//     it is killed. It ends with the process that started it.
//
// The machine needs QEMU, mke2fs, and a Linux kernel with its modules. KVM is used where a
// trial shows that it works; elsewhere QEMU emulates a processor, which takes some seconds
// longer. The program itself is the first process of the virtual machine, so its main
// function has to begin with
//
//	if code, ok := vm.Main(); ok {
//		os.Exit(code)
//	}
//
// Non-goals: processors other than amd64; networks (Step.Network is refused).
package vm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/varve-image/varve/internal/lack"
	"github.com/varve-image/varve/internal/sandbox"
)

// Options describes what the runner needs of the machine. The zero value finds it.
type Options struct {
	sandbox.Options
	// Kernel is the kernel to start, a bzImage; "" means the newest in /boot that has its
	// modules.
	Kernel string
	// Modules is the directory of its modules, which contains modules.dep; "" means
	// ../lib/modules/VERSION or lib/modules/VERSION beside the kernel, or the machine's
	// directory.
	Modules string
	// Init is the program that runs in the virtual machine: its main function begins with
	// Main, and it is statically linked; "" means this program.
	Init string
	// BootTime limits how long the virtual machine may take to start; 0 means five minutes,
	// for machines that are very busy.
	BootTime time.Duration
}

// The sizes that dockerTools gives a virtual machine.
const (
	defaultDisk   = 1024 << 20
	defaultMemory = 512 << 20
	minDisk       = 16 << 20
	minMemory     = 128 << 20
)

// Runner runs steps, each in a virtual machine of its own.
type Runner struct {
	opts Options
}

// New returns a Runner.
func New(opts Options) *Runner {
	if opts.BootTime == 0 {
		opts.BootTime = 5 * time.Minute
	}
	return &Runner{opts}
}

var _ sandbox.Runner = (*Runner)(nil)

// Run runs a step; see sandbox.Runner.
func (r *Runner) Run(ctx context.Context, step *sandbox.Step) (*sandbox.Result, error) {
	if err := step.Check(); err != nil {
		return nil, err
	}
	if step.Network != sandbox.NetworkNone {
		return nil, fmt.Errorf("step %s: a virtual machine has no network: run it with the other isolation", step.Name)
	}
	step, err := complete(step)
	if err != nil {
		return nil, err
	}
	result, err := r.run(ctx, step)
	if cause := context.Cause(ctx); cause != nil && err != nil {
		return nil, cause
	}
	return result, err
}

// Files returns the files of the machine that decide what a step finds in its virtual machine
// besides what it names.
func (r *Runner) Files() ([]string, error) {
	k, err := findKernel(r.opts)
	if err != nil {
		return nil, err
	}
	return []string{k.path, k.modules}, nil
}

// complete returns the step with the sizes of its virtual machine, which are limits too.
func complete(step *sandbox.Step) (*sandbox.Step, error) {
	s := *step
	if s.VM.Disk == 0 {
		s.VM.Disk = defaultDisk
	}
	if s.VM.Memory == 0 {
		s.VM.Memory = defaultMemory
	}
	if s.VM.Disk < minDisk || s.VM.Memory < minMemory {
		return nil, fmt.Errorf("step %s: a virtual machine with %d MiB of disk and %d MiB of memory is too small: want %d and %d at least",
			s.Name, s.VM.Disk>>20, s.VM.Memory>>20, minDisk>>20, minMemory>>20)
	}
	s.Limits = s.Limits.WithDefaults()
	s.Limits.Disk = min(s.Limits.Disk, s.VM.Disk)
	return &s, nil
}

// missing returns the error for something that the machine lacks.
func missing(err error, hints ...string) error {
	return &lack.Error{Err: err, Hints: hints}
}

var errNoAnswer = errors.New("the virtual machine ended without an answer")
