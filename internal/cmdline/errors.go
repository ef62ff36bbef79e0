package cmdline

import (
	"errors"
	"io"
	"syscall"

	"github.com/varve-image/varve/internal/regfile"
)

// UsageError marks an error in what the user wrote.
type UsageError struct{ error }

func (u *UsageError) Unwrap() error { return u.error }

// Usage marks an error as one in the user's input; nil stays nil.
func Usage(err error) error {
	if err == nil {
		return nil
	}
	return &UsageError{err}
}

// FileUsage classifies an error of opening a file that the user named: it is a
// usage error if the file is missing or of the wrong kind.
func FileUsage(err error) error {
	if regfile.IsMisnamed(err) {
		return Usage(err)
	}
	return err
}

// HintedError is an error with hints on what to do next.
type HintedError struct {
	error
	Hints []string
}

func (h *HintedError) Unwrap() error { return h.error }

// Hint adds to an error what to do next.
func Hint(err error, hints ...string) error { return &HintedError{err, hints} }

// OutputError explains an error of writing to standard output.
func OutputError(err error) error {
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) {
		return errors.New("standard output was closed before everything was written")
	}
	return err
}
