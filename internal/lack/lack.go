// Package lack has the error that says what a machine lacks.
package lack

import "errors"

// ErrLacking is what every Error is.
var ErrLacking = errors.New("something is lacking on this machine")

// Error says that the machine lacks something that is needed, such as a program, a
// service that answers, or a permission: the command's exit code 3. No change of a spec
// and no other input mends it.
type Error struct {
	// Err says what is missing and how that was found.
	Err error
	// Hints say what to change, one way each.
	Hints []string
}

func (e *Error) Error() string { return e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is ErrLacking.
func (e *Error) Is(target error) bool { return target == ErrLacking }
