// Package sandbox describes run steps: programs that change a tree, isolated from the
// machine that they run on.
//
// Guarantees, whatever the runner, and whatever the step and the tree try:
//
//   - A step sees its tree, what Step names, and nothing else of the machine:
//     no other files, processes, environment, open files or sockets, and
//     without NetworkHost no network.
//   - It writes to its tree and to private file systems that end with it.
//   - It gains no privilege, and does not outlive Run. When the context ends,
//     so does the step, within two seconds.
//   - Its result depends on the step alone, not on the user who runs it
//     or on the runner: names, owners, modes, capabilities and devices that a
//     step sets are in the result even where the machine did not allow it.
//   - It leaves nothing behind: what a killed process leaves is removed by the
//     next Run in the same Options.TempDir.
//
// Non-goals: what a step itself makes of the time, the processor or random numbers;
// architectures other than the machine's.
//
// Package userns runs steps in namespaces of the kernel, vm in a virtual machine;
// sandboxtest is the test suite for both.
package sandbox

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/varve-image/varve/tree"
)

// Runner runs steps. Several may run at once.
type Runner interface {
	// Run runs a step to its end. The result has to be closed. Errors that a caller may
	// want to distinguish: *StepError, *LimitError, *lack.Error, and the error of ctx.
	Run(ctx context.Context, step *Step) (*Result, error)
}

// RunnerVersion is part of what a result is remembered by: a change of the runners, of what steps
// see besides what they name, or of how their results and base images are read, that gives another
// result for the same step needs a new one.
const RunnerVersion = 2

// Run has a runner run a step, and completes a *StepError with what the step lacked.
func Run(ctx context.Context, r Runner, step *Step) (*Result, error) {
	res, err := r.Run(ctx, step)
	var failed *StepError
	if errors.As(err, &failed) {
		failed.Offline = step.Network == NetworkNone
	}
	return res, err
}

// Options describes what runners need of the machine.
type Options struct {
	// TempDir is the directory where trees are unpacked while a step runs; "" means the
	// system's directory for temporary files. Only a directory on disk can hold large
	// trees.
	TempDir string
}

// Result describes what a step left. Its files can be opened until Close.
type Result struct {
	// Tree is the whole tree after the step, canonical. What the step did not change is the
	// same *Entry as in Step.Tree; a changed entry has the time that Step.Tree has for its
	// path, or else 0: callers set times. Sockets are left out: layers cannot hold them.
	Tree []*tree.Entry
	// Changes is the layer that leads from Step.Tree to Tree, as tree.Diff makes it. A file
	// that was only touched, or rewritten with the same content, is not a change.
	Changes []*tree.Entry

	close func() error
}

// Root says where a step sees its tree.
type Root int

const (
	// ImageRoot makes the tree "/", with /dev, /proc and /sys of the sandbox's own. They
	// and the Binds need places to be mounted on: those missing from the tree exist during
	// the step only.
	ImageRoot Root = iota
	// HostTools puts the tree at TreeDir and runs the machine's own programs: of the
	// machine, it shows Step.Tools and what the programs there need, read-only (see
	// HostView). /tmp is private and empty.
	HostTools
)

// TreeDir is where the tree is with HostTools.
const TreeDir = "/build"

// Step describes a program to run, and everything that it may see and use.
type Step struct {
	// Name identifies the step in messages, such as "runAsRoot".
	Name string

	// Tree is the tree that the step starts with: canonical and complete, with all parents.
	// It is not changed. Each file's content is read at most once, in the tree's order; the
	// files of a tree.Overlay should be spooled before.
	Tree []*tree.Entry
	Root Root
	// Dir is the working directory, absolute inside the sandbox; "" means "/" with
	// ImageRoot and TreeDir with HostTools.
	Dir string

	// Argv is the program and its arguments. A program without a slash is looked
	// for in Env's PATH, inside the sandbox.
	Argv []string
	// Script, unless empty, is put into a file outside of the tree whose name is
	// appended to Argv: ["/bin/sh", "-e"] with a Script runs it with set -e.
	Script string
	// Env is the environment, complete: "NAME=value".
	Env []string

	// FakeRoot runs the program as root: uid and gid 0, free to change owners and modes, to
	// become another user, to make devices and to set capabilities, as far as the result is
	// concerned. Without it the program runs as uid and gid UserID without any privilege.
	// It may then write everything in the tree: the files appear to be its own, but keep
	// their owners in the result, and new ones are 0:0.
	FakeRoot bool

	// Tools are directories of the machine with programs, absolute, for HostTools.
	Tools []string
	// Binds are further files and directories of the machine to show, read-only.
	Binds []Bind
	// Network says what the step can reach.
	Network Network

	Limits Limits
	// VM is for runners with a virtual machine; others ignore it.
	VM VM

	// Stdin is the standard input; nil means empty.
	Stdin io.Reader
	// Stdout and Stderr get what the step writes; nil discards it. They may be the same,
	// and are not written to at the same time.
	Stdout, Stderr io.Writer
	// Terminal, unless nil, gives the step a terminal for its standard input, output and
	// error; the caller is at its other end with Stdin and Stdout.
	Terminal *Terminal
}

// UserID is the user and group id of a step without FakeRoot.
const UserID = 1000

// OverflowID is the id of nobody, which also appears to own the files whose owner has no id
// in a namespace.
const OverflowID = 65534

// Terminal describes an interactive step's terminal.
type Terminal struct {
	// Size is the size at the start; Resize, unless nil, delivers new sizes.
	Size   TerminalSize
	Resize <-chan TerminalSize
}

// TerminalSize is a terminal's size in characters.
type TerminalSize struct{ Rows, Columns uint16 }

// Bind shows a file or directory of the machine in the sandbox, read-only,
// with what is mounted below it.
type Bind struct {
	// Source is an absolute path on the machine, whose symlinks are followed.
	Source string
	// Target is an absolute path in the sandbox. Symlinks of the tree on the way
	// are followed inside the sandbox.
	Target string
}

// Network says what a step can reach.
type Network int

const (
	// NetworkNone gives the step only a loopback interface of its own.
	NetworkNone Network = iota
	// NetworkHost gives the step the machine's network, with its abstract sockets, and its
	// /etc/resolv.conf and /etc/hosts instead of the tree's.
	NetworkHost
)

// Limits restrict a step; 0 means no limit, except where another default is stated. A step
// that reaches a limit of time, memory or output ends with a *LimitError; one that reaches
// a limit of processes or disk sees an error from the call that reached it, or ends in the
// same way. Memory and disk are checked from time to time, more often the nearer the limit
// is; usage may exceed it for a moment. Usage that cannot be checked counts as too much
// (LimitError.Unseen).
type Limits struct {
	// Time is how long the step may run.
	Time time.Duration
	// Memory is how much all processes of the step may use, in bytes: their own and shared
	// memory, files in memory, and what the kernel keeps for them.
	Memory int64
	// Processes is how many processes and threads there may be at once; 0 means
	// DefaultProcesses.
	Processes int
	// Output is how much the step may write to its standard output and error,
	// in bytes.
	Output int64
	// Disk is how much the step may write to its tree, in bytes, including deleted files
	// that are still open; and how large its changed files may be together, including
	// holes, which layers have to write out. Each entry that it changed or made counts with
	// at least EntrySize: 512 bytes, and more where its path or link target is long. 0
	// means DefaultDisk.
	Disk int64
}

// MaxEntries limits the number of files and directories in the tree that a step leaves.
const MaxEntries = 2_000_000

// DefaultProcesses is the limit of processes where Limits sets none.
const DefaultProcesses = 4096

// DefaultDisk is the limit of disk where Limits sets none, in bytes.
const DefaultDisk = 64 << 30

// WithDefaults fills in the defaults of limits that are not set.
func (l Limits) WithDefaults() Limits {
	if l.Processes == 0 {
		l.Processes = DefaultProcesses
	}
	if l.Disk == 0 {
		l.Disk = DefaultDisk
	}
	return l
}

// VM describes a virtual machine.
type VM struct {
	// Disk is the size of the disk that holds the tree, and Memory the size of the memory,
	// both in bytes. 0 means dockerTools' default: 1024 and 512 MiB.
	Disk, Memory int64
}
