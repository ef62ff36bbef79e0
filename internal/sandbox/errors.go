package sandbox

import (
	"fmt"
	"syscall"
)

// StepError says that the step's program failed.
type StepError struct {
	// Name is the step's name, and Root says what it has as its root directory.
	Name string
	Root Root
	// ExitCode is the exit code of the program, or -1 where Signal ended it.
	ExitCode int
	Signal   syscall.Signal
	// LastLines is the end of what the step wrote to its standard output and
	// error, at most MaxLastLines lines, as it wrote them, without newlines.
	LastLines []string
	// Offline says that the step had no network but a loopback interface: Run sets it.
	Offline bool
}

// MaxLastLines is how many lines a StepError keeps.
const MaxLastLines = 50

func (e *StepError) Error() string {
	if e.Signal != 0 {
		return fmt.Sprintf("step %s was ended by signal %d (%s)", e.Name, int(e.Signal), e.Signal)
	}
	return fmt.Sprintf("step %s failed with exit code %d", e.Name, e.ExitCode)
}

// LimitError says that the step was ended because it reached one of its limits.
type LimitError struct {
	// Name is the step's name.
	Name string
	// Limit says which limit was reached, and Limits the limits that were set.
	Limit  Limit
	Limits Limits
	// File, unless empty, is a file that was too large for LimitDisk, and Size its size in
	// bytes, including holes.
	File string
	Size int64
	// Unseen, unless empty, says why the step's usage could not be checked, which counts as
	// too much.
	Unseen string
	// LastLines is the same as in StepError.
	LastLines []string
}

// Limit names one of a step's limits.
type Limit string

// The values of Limit.
const (
	LimitTime   Limit = "time"
	LimitMemory Limit = "memory"
	LimitOutput Limit = "output"
	LimitDisk   Limit = "disk"
	// LimitProcesses is the limit of the field Processes.
	LimitProcesses Limit = "processes"
)

func (e *LimitError) Error() string {
	if e.Unseen != "" {
		return fmt.Sprintf("step %s was ended: what it used of its limit of %s could not be looked at: %q", e.Name, e.limit(), e.Unseen)
	}
	text := fmt.Sprintf("step %s was ended: it reached its limit of %s", e.Name, e.limit())
	if e.File != "" {
		text += fmt.Sprintf(": with its holes %q is %s", e.File, describeBytes(e.Size))
	}
	return text
}

// limit describes the limit, such as "1 GiB of memory".
func (e *LimitError) limit() string {
	l := e.Limits
	switch e.Limit {
	case LimitTime:
		return fmt.Sprintf("%v of time", l.Time)
	case LimitMemory:
		return describeBytes(l.Memory) + " of memory"
	case LimitOutput:
		return describeBytes(l.Output) + " of output"
	case LimitDisk:
		return describeBytes(l.Disk) + " of disk"
	case LimitProcesses:
		return fmt.Sprintf("%d processes", l.Processes)
	}
	return fmt.Sprintf("%q", e.Limit)
}

// describeBytes writes a size in the largest unit that divides it.
func describeBytes(n int64) string {
	switch {
	case n%(1<<40) == 0:
		return fmt.Sprintf("%d TiB", n>>40)
	case n%(1<<30) == 0:
		return fmt.Sprintf("%d GiB", n>>30)
	case n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	case n == 1:
		return "1 byte"
	}
	return fmt.Sprintf("%d bytes", n)
}

// RequestError says that a step asks for something it cannot have: exit code 2.
type RequestError struct{ Err error }

func (e *RequestError) Error() string { return e.Err.Error() }

func (e *RequestError) Unwrap() error { return e.Err }
