//go:build !linux || !(amd64 || arm64)

package userns

import (
	"context"
	"errors"

	"github.com/varve-image/varve/internal/lack"
	"github.com/varve-image/varve/internal/sandbox"
)

// Main does nothing on this platform; see the one for Linux.
func Main() (code int, ok bool) { return 0, false }

func (r *Runner) run(context.Context, *sandbox.Step) (*sandbox.Result, error) {
	return nil, &lack.Error{
		Err:   errors.New("run steps need Linux on amd64 or arm64"),
		Hints: []string{"build the image in a Linux virtual machine or container"},
	}
}
