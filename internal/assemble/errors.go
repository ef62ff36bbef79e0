package assemble

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/varve-image/varve/tree"
)

// SpecError is an error that a change of the spec fixes.
type SpecError struct {
	// Field is the field of the spec that is at fault.
	Field string
	Err   error
}

func (e *SpecError) Error() string {
	if text := e.Err.Error(); strings.HasPrefix(text, e.Field+"[") { // the error says which element
		return text
	}
	return fmt.Sprintf("%s: %v", e.Field, e.Err)
}

func (e *SpecError) Unwrap() error { return e.Err }

// dataError is an error in an archive's content, which no change of the spec fixes.
type dataError struct{ error }

func (e *dataError) Unwrap() error { return e.error }

// specError blames a field of the spec, unless the machine or a file's content is
// at fault: a file that cannot be read or is broken is not the spec's fault, a
// missing one is.
func specError(field string, err error) error {
	var errno syscall.Errno
	var data *dataError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
	case errors.As(err, &errno), errors.As(err, &data):
		return fmt.Errorf("%s: %w", field, err)
	}
	return &SpecError{field, err}
}

// fieldsFor names the spec's fields that avoid an error about a tree.
func fieldsFor(err error) string {
	switch err.(type) { //nolint:errorlint // one error of a tree at a time
	case *tree.DifferenceError:
		return "\n`conflicts: first` or `conflicts: last` chooses which source wins"
	case *tree.MisfitError:
		return ": `conflicts: first` keeps the base's, `conflicts: last` replaces it with all that is in it"
	case *tree.NotDirError:
		return ": copy it with copyToRoot, or name the directory that holds it"
	}
	return ""
}

// quotePath puts quotes around the name in an error of package os.
func quotePath(err error) error {
	var e *fs.PathError
	if errors.As(err, &e) {
		return fmt.Errorf("%q: %w", e.Path, e.Err)
	}
	return err
}
