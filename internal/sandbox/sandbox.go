// Package sandbox describes run steps: programs that change a tree, shut away
// from the machine that they run on.
//
// Guarantees, whatever the runner, and whatever the step and the tree try:
//
//   - A step sees its tree, what Step names, and nothing else of the machine:
//     no other files, processes, environment, open files or sockets, and
//     without NetworkHost no network.
//   - It writes to its tree and to private file systems that end with it.
//   - It gains no privilege, and does not outlive Run. When the context ends,
//     so does the step, within two seconds.
//   - What comes of it depends on the step alone, not on the user who runs it
//     or on the runner: names, owners, modes, capabilities and devices that a
//     step sets are in the result although the machine may not have let it.
//   - Nothing is left of it: what a killed process leaves is taken away by the
//     next Run in the same Options.TempDir.
//
// Non-goals: what a step itself makes of the time, the processor or random
// numbers; architectures other than the machine's.
//
// Package userns runs steps in namespaces of the kernel, vm in a virtual
// machine; sandboxtest is the suite that holds for both.
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
	// Run runs a step to its end. The result has to be closed. Errors that a
	// caller may want to tell apart: *StepError, *LimitError, *MissingError, and
	// that of ctx.
	Run(ctx context.Context, step *Step) (*Result, error)
}

// Run has a runner run a step, and a *StepError tell what the step lacked.
func Run(ctx context.Context, r Runner, step *Step) (*Result, error) {
	res, err := r.Run(ctx, step)
	var failed *StepError
	if errors.As(err, &failed) {
		failed.Offline = step.Network == NetworkNone
	}
	return res, err
}

// Options is what runners need of the machine.
type Options struct {
	// TempDir is where trees are unpacked while a step runs; "" is the system's
	// directory for temporary files. Only a directory of the machine's disk can
	// hold large trees.
	TempDir string
}

// Result is what a step left. Its files can be opened until Close.
type Result struct {
	// Tree is the whole tree after the step, canonical. What the step did not
	// change is there as the *Entry of Step.Tree; what it did has the time that
	// Step.Tree has for its path, or else 0: callers set times. Sockets are left
	// out: no layer can hold one.
	Tree []*tree.Entry
	// Changes is the layer that leads from Step.Tree to Tree, as tree.Diff makes
	// it. A file that was only touched, or written with what it had, is no change.
	Changes []*tree.Entry

	close func() error
}

// Root says where a step has its tree.
type Root int

const (
	// ImageRoot has the tree as "/", with /dev, /proc and /sys of the sandbox's
	// own. They and the Binds need places to be mounted on: those that the tree
	// does not have are there during the step and not afterwards.
	ImageRoot Root = iota
	// HostTools has the tree at TreeDir and runs the machine's own programs: of
	// the machine, Step.Tools and what programs in them need is visible, read-only (see
	// HostView). /tmp is private and empty.
	HostTools
)

// TreeDir is where the tree is with HostTools.
const TreeDir = "/build"

// Step is a program to run, and all that it may see and use.
type Step struct {
	// Name says in messages which step this is, such as "runAsRoot".
	Name string

	// Tree is what the step finds: canonical and complete, with all parents. It is
	// not changed. Each file's content is read at most once, in the tree's order; those of a
	// tree.Overlay should be spooled before.
	Tree []*tree.Entry
	Root Root
	// Dir is the working directory, absolute inside the sandbox; "" is "/" with
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

	// FakeRoot runs the program as root: uid and gid 0, free to change owners and
	// modes, to become another user, to make devices and to set capabilities, as
	// far as the result is concerned. Without it the program runs as uid and gid
	// UserID without any privilege; it may write everything in the tree, whose files
	// appear to be its own; they keep the owners they have, and new ones are 0:0.
	FakeRoot bool

	// Tools are directories of the machine with programs, absolute, for HostTools.
	Tools []string
	// Binds are further files and directories of the machine to show, read-only.
	Binds []Bind
	// Network is what the step can reach.
	Network Network

	Limits Limits
	// VM is for runners with a virtual machine; others ignore it.
	VM VM

	// Stdin is the standard input; nil is an empty one.
	Stdin io.Reader
	// Stdout and Stderr get what the step writes; nil is nowhere. They may be the
	// same, and are not written to at the same time.
	Stdout, Stderr io.Writer
	// Terminal, unless nil, gives the step a terminal for its standard input,
	// output and error, which is Stdin and Stdout to the caller.
	Terminal *Terminal
}

// UserID is the user and group id of a step without FakeRoot.
const UserID = 1000

// OverflowID is nobody's, and whose files seem to be that have an owner without an id
// in a namespace.
const OverflowID = 65534

// Terminal describes an interactive step's terminal.
type Terminal struct {
	// Size is the size at the start; Resize, unless nil, tells of new ones.
	Size   TerminalSize
	Resize <-chan TerminalSize
}

// TerminalSize is in characters.
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

// Network is what a step can reach.
type Network int

const (
	// NetworkNone is a loopback interface of the step's own.
	NetworkNone Network = iota
	// NetworkHost is the machine's network, with its abstract sockets, and its
	// /etc/resolv.conf and /etc/hosts in place of the tree's.
	NetworkHost
)

// Limits bound a step; 0 is no limit, except where another default is stated. A
// step that meets a limit of time, memory or output ends with a *LimitError;
// one that meets one of processes or disk sees an error of the call that did,
// or ends so too. Memory and disk are looked at from time to time, and the more often the
// nearer they are; for a moment there may be more. What cannot be looked at counts as too
// much (LimitError.Unseen).
type Limits struct {
	// Time is how long the step may take.
	Time time.Duration
	// Memory is what all processes of the step may use, in bytes: their own, what
	// they share, files in memory, and what the kernel keeps for them.
	Memory int64
	// Processes is how many processes and threads there may be at once; 0 is
	// DefaultProcesses.
	Processes int
	// Output is how much the step may write to its standard output and error,
	// in bytes.
	Output int64
	// Disk is how much the step may write to its tree, in bytes, deleted files
	// that are still open included; and how much its changed files may come to,
	// holes included, which a layer has no room for. Each entry that it changed or made
	// counts with EntrySize at least: 512 bytes, and more where its path or link target is
	// long. 0 is DefaultDisk.
	Disk int64
}

// MaxEntries is how many files and directories there may be in the tree that a
// step leaves.
const MaxEntries = 2_000_000

// DefaultProcesses is the limit of processes where Limits has none.
const DefaultProcesses = 4096

// DefaultDisk is the limit of disk where Limits has none, in bytes.
const DefaultDisk = 64 << 30

// WithDefaults puts the defaults where there is no limit.
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
	// Disk is the size of the disk that holds the tree, in bytes; Memory that of
	// the memory. 0 is dockerTools' default: 1024 and 512 MiB.
	Disk, Memory int64
}
