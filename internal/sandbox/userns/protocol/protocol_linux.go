//go:build amd64 || arm64

package protocol

import (
	"errors"

	"github.com/varve-image/varve/internal/lack"
	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/internal/sandbox/userns/seccomp"
)

// The names that tell this program what it is run again for: to be the first process of a
// step's namespaces, or to become the step's program.
const (
	InitName    = "varve-step"
	ProgramName = "varve-program"
)

// The files of these processes besides standard input, output and error, which are the
// step's. The process that is to become the program has only the first.
const (
	// FDControl is a socket: it brings a config and takes a report, or brings an order and
	// takes news.
	FDControl = 3 + iota
	// FDTree is a pipe from which the tree comes as a tar.
	FDTree
	// FDChanges is a pipe into which the layer of changes goes.
	FDChanges
)

// Config tells the first process what to do.
type Config struct {
	// Remove says to do nothing but remove the working directory's content.
	Remove bool

	// WorkDev and WorkIno identify the working directory, so that no other can take its
	// place.
	WorkDev, WorkIno uint64

	Name     string
	Root     sandbox.Root
	Dir      string
	Argv     []string
	Script   string
	Env      []string
	FakeRoot bool
	// Terminal says that standard input, output and error are a terminal.
	Terminal bool
	Binds    []sandbox.Bind
	Host     []sandbox.HostFile
	Network  sandbox.Network
	// Opened are the descriptors of what is to be shown and is open already.
	Opened map[string]int
	Limits sandbox.Limits
	// User is the user of the first process and the step, in the namespace.
	User int
	// Groups says that supplementary groups can be given up.
	Groups bool
}

// Sources returns the files and directories of the machine to show.
func (c *Config) Sources() []string {
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
		all = append(all, NetworkFiles()...)
	}
	return all
}

// NetworkFiles returns the files that programs resolve names of the network with.
func NetworkFiles() []string { return []string{"/etc/resolv.conf", "/etc/hosts"} }

// Report is the first process's result of the step. A zero Report means that it ended well.
type Report struct {
	ExitCode, Signal int
	// Limit says which limit was reached, with a File that was too large for it and its
	// Size, or with why the usage was Unseen.
	Limit  sandbox.Limit
	File   string
	Size   int64
	Unseen string
	// Unread says that the changes were not read to their end.
	Unread bool
	// Error says what went wrong before or after the step; Missing says that the machine
	// lacks something, with Hints on what to change.
	Error   string
	Missing bool
	Hints   []string
}

// Failed reports whether anything is wrong.
func (r *Report) Failed() bool {
	return r.ExitCode != 0 || r.Signal != 0 || r.Limit != "" || r.Error != ""
}

// Failure returns the report for an error.
func Failure(err error) Report {
	rep := Report{Error: err.Error()}
	var missing *lack.Error
	if errors.As(err, &missing) {
		rep.Missing, rep.Hints = true, missing.Hints
	}
	var limit *sandbox.LimitError
	if errors.As(err, &limit) {
		rep = Report{Limit: limit.Limit, File: limit.File, Size: limit.Size, Unseen: limit.Unseen}
	}
	return rep
}

// Order tells a process how to run a program.
type Order struct {
	Program, Dir string
	Argv, Env    []string
	FakeRoot     bool
	Limits       sandbox.Limits
	Filter       seccomp.Filter
	// Listen says that the filter has a listener.
	Listen bool
}

// News is what the process that is to become the program sends: its thread; after the
// order, the listener of its filter, upon which it is told to go on; or what is wrong.
type News struct {
	Thread, Listener int
	Failure          Report
}
