//go:build !linux || !amd64

package vm

import (
	"context"
	"errors"

	"github.com/varve-image/varve/internal/sandbox"
)

// Main does nothing here.
func Main() (code int, ok bool) { return 0, false }

func (r *Runner) run(context.Context, *sandbox.Step) (*sandbox.Result, error) {
	return nil, missing(errors.New("virtual machines are made on Linux with an amd64 processor only"), "use isolation: userns, or another machine")
}
