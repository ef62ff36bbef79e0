package sandbox

import (
	"fmt"
	"syscall"
)

// StepError says that the step's program failed.
type StepError struct {
	// Name is the step's.
	Name string
	// ExitCode is what the program ended with, or -1 where Signal ended it.
	ExitCode int
	Signal   syscall.Signal
	// LastLines is the end of what the step wrote to its standard output and
	// error, at most MaxLastLines lines, as it wrote them, without newlines.
	LastLines []string
}

// MaxLastLines is how many lines a StepError keeps.
const MaxLastLines = 50

func (e *StepError) Error() string {
	if e.Signal != 0 {
		return fmt.Sprintf("step %s was ended by signal %d (%s)", e.Name, int(e.Signal), e.Signal)
	}
	return fmt.Sprintf("step %s failed with exit code %d", e.Name, e.ExitCode)
}

// LimitError says that the step was ended because it met one of its limits.
type LimitError struct {
	// Name is the step's.
	Name string
	// Limit says which, and how much it is: "1 GiB of memory".
	Limit string
	// LastLines is as in StepError.
	LastLines []string
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("step %s was ended: it reached its limit of %s", e.Name, e.Limit)
}

// MissingError says that the machine lacks something that the runner needs:
// exit code 3.
type MissingError struct {
	// Err says what is missing and how that was seen.
	Err error
	// Hints say what to change, one way each.
	Hints []string
}

func (e *MissingError) Error() string { return e.Err.Error() }

func (e *MissingError) Unwrap() error { return e.Err }
