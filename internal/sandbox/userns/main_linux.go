//go:build amd64 || arm64

package userns

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/varve-image/varve/internal/sandbox/userns/first"
	"github.com/varve-image/varve/internal/sandbox/userns/program"
	"github.com/varve-image/varve/internal/sandbox/userns/protocol"
)

// Main runs the first process of a sandbox, or the one that becomes a step's program, if
// this process was started as one of them: it does its work and returns true with the exit
// code. In any other process it returns false at once.
func Main() (code int, ok bool) {
	if len(os.Args) != 1 {
		return 0, false
	}
	var err error
	switch control := os.NewFile(protocol.FDControl, "control"); os.Args[0] {
	case protocol.InitName:
		err = first.Main(control)
	case protocol.ProgramName:
		err = program.Main(control)
	default:
		return 0, false
	}
	if err != nil {
		if !errors.Is(err, io.EOF) { // the process that gives the orders has ended, and says why
			fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[0], err)
		}
		return 1, true
	}
	return 0, true
}
