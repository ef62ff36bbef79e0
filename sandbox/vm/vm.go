// Package vm runs steps in a virtual machine: a kernel of its own stands
// between a step and the machine.
//
// Guarantees, besides those of package sandbox:
//
//   - The virtual machine has a disk, a memory and a processor, and no network
//     card. Of the machine's files it gets the tree, what Step names, and a kernel.
//   - Inside, the step is run by package userns, so that it comes out as it does
//     there: what a guest sends back is read as hostile input all the same.
//   - Nothing of it has a name in the file system, so that nothing is left when
//     it is killed. It ends with the process that started it.
//
// The machine needs QEMU, mke2fs, and a Linux kernel with its modules. KVM is
// used where a trial shows that it works; elsewhere QEMU emulates a processor,
// which takes some seconds longer. The program itself is the first process of
// the virtual machine, so that its main function has to begin with
//
//	if code, ok := vm.Main(); ok {
//		os.Exit(code)
//	}
//
// Non-goals: other processors than amd64; networks (Step.Network is refused).
package vm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/varve-image/varve/sandbox"
)

// Options is what the runner needs of the machine. The zero value finds it.
type Options struct {
	sandbox.Options
	// Kernel is the kernel to start, a bzImage; "" is the newest in /boot that has
	// its modules.
	Kernel string
	// Modules is the directory of its modules, with modules.dep in it; "" is
	// ../lib/modules/VERSION or lib/modules/VERSION beside the kernel, or that
	// of the machine.
	Modules string
	// Init is the program that runs in the virtual machine: one whose main
	// function begins with Main, statically linked; "" is this program.
	Init string
	// BootTime bounds how long the virtual machine may take to start; 0 is five
	// minutes, for machines that are very busy.
	BootTime time.Duration
}

// The sizes that dockerTools gives a virtual machine.
const (
	defaultDisk   = 1024 << 20
	defaultMemory = 512 << 20
	minDisk       = 16 << 20
	minMemory     = 128 << 20
)

// Runner runs steps in virtual machines, one for each.
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
	result, err := r.run(ctx, step)
	if cause := context.Cause(ctx); cause != nil && err != nil {
		return nil, cause
	}
	return result, err
}

// sizes are those of the virtual machine, in bytes.
func sizes(step *sandbox.Step) (disk, memory int64, err error) {
	disk, memory = step.VM.Disk, step.VM.Memory
	if disk == 0 {
		disk = defaultDisk
	}
	if memory == 0 {
		memory = defaultMemory
	}
	if disk < minDisk || memory < minMemory {
		return 0, 0, fmt.Errorf("step %s: a virtual machine with %d MiB of disk and %d MiB of memory is too small: want %d and %d at least",
			step.Name, disk>>20, memory>>20, minDisk>>20, minMemory>>20)
	}
	return disk, memory, nil
}

// missing says that the machine lacks something.
func missing(err error, hints ...string) error {
	return &sandbox.MissingError{Err: err, Hints: hints}
}

var errNoAnswer = errors.New("the virtual machine ended without an answer")
