//go:build amd64 || arm64

package userns

import (
	"errors"

	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/internal/sandbox/userns/worktree"
)

// initName is the name by which the program knows that it is run again.
const initName = "varve-step"

// programName is that by which it knows that it is to become a step's program.
const programName = "varve-program"

// The files of the first process besides standard input, output and error,
// which are the step's. It starts in the working directory, which is empty.
const (
	// fdControl is a socket: a config comes, a report goes.
	fdControl = 3 + iota
	// fdTree is a pipe from which the tree comes as a tar.
	fdTree
	// fdChanges is a pipe into which the layer of changes goes.
	fdChanges
)

// config is what the first process is told.
type config struct {
	// Remove asks for nothing but the working directory's content to be removed.
	Remove bool

	// WorkDev and WorkIno are the working directory's, in whose place no other may be.
	WorkDev, WorkIno uint64

	Name     string
	Root     sandbox.Root
	Dir      string
	Argv     []string
	Script   string
	Env      []string
	FakeRoot bool
	// Terminal says that standard input, output and error are one.
	Terminal bool
	Binds    []sandbox.Bind
	Host     []sandbox.HostFile
	Network  sandbox.Network
	// Opened are the descriptors of what is to be shown that is open already.
	Opened map[string]int
	Limits sandbox.Limits
	// User is who the first process and the step are, in the namespace.
	User int
	// Groups says that supplementary groups can be given up.
	Groups bool
}

// sources are the files and directories of the machine to show.
func (c *config) sources() []string {
	var all []string
	for _, f := range c.Host {
		if f.Link == "" {
			all = append(all, f.Source)
		}
	}
	for _, b := range c.Binds {
		all = append(all, b.Source)
	}
	if c.Network == sandbox.NetworkHost {
		all = append(all, networkFiles()...)
	}
	return all
}

// networkFiles are the files that programs find names of the network with.
func networkFiles() []string { return []string{"/etc/resolv.conf", "/etc/hosts"} }

// report is what the first process says of the step. Without any field set it
// ended well.
type report struct {
	ExitCode, Signal int
	// Limit is which one was reached, with a File that was too large for it, and
	// its Size, or why what is used of it was Unseen.
	Limit  sandbox.Bound
	File   string
	Size   int64
	Unseen string
	// Unread says that the changes were not read to their end.
	Unread bool
	// Error is what went wrong before or after the step; Missing says that the
	// machine lacks something, with Hints what to change.
	Error   string
	Missing bool
	Hints   []string
}

// failed tells whether anything is amiss.
func (r *report) failed() bool {
	return r.ExitCode != 0 || r.Signal != 0 || r.Limit != "" || r.Error != ""
}

// failure makes a report of an error.
func failure(err error) report {
	rep := report{Error: err.Error(), Unread: errors.Is(err, worktree.ErrUnread)}
	var missing *sandbox.MissingError
	if errors.As(err, &missing) {
		rep.Missing, rep.Hints = true, missing.Hints
	}
	var limit *sandbox.LimitError
	if errors.As(err, &limit) {
		rep = report{Limit: limit.Bound, File: limit.File, Size: limit.Size, Unseen: limit.Unseen}
	}
	return rep
}
