package dockertools

import (
	"fmt"

	"github.com/varve-image/varve/internal/assemble"
	"github.com/varve-image/varve/internal/regfile"
)

// InputError says that what was asked for cannot be: another input mends it.
type InputError struct{ Err error }

func (e *InputError) Error() string { return e.Err.Error() }

func (e *InputError) Unwrap() error { return e.Err }

func inputErrorf(format string, args ...any) error {
	return &InputError{fmt.Errorf(format, args...)}
}

// asInput has what is wrong be the input's fault; nil stays nil.
func asInput(err error) error {
	if err == nil {
		return nil
	}
	return &InputError{err}
}

// fileError has an error of opening a file that the input names be the input's fault, if
// the file is not there, or cannot be what was meant.
func fileError(err error) error {
	if regfile.IsMisnamed(err) {
		return asInput(err)
	}
	return err
}

// specError blames a field of a conf.json, or of a spec.
func specError(field string, err error) error {
	return &assemble.SpecError{Field: field, Err: err}
}
