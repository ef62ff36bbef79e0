package cli

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/varve-image/varve/internal/regfile"
	"github.com/varve-image/varve/spec"
)

// nixProgram is what a program of the Nix expressions holds: the first words
// of a command line, which the program's own arguments follow.
type nixProgram struct {
	Args []string `json:"args"`
}

// newNixRun runs programs that the Nix expressions made, as the interpreter
// that their first line names. Nobody else calls it.
func newNixRun() *cobra.Command {
	return &cobra.Command{
		Use:                "nix-run FILE [ARG...]",
		Short:              "Run a program of varve's Nix expressions",
		Hidden:             true,
		DisableFlagParsing: true, // they are the program's
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError(errors.New("no program to run"))
			}
			data, err := regfile.Read(args[0], spec.MaxSize)
			if err != nil {
				return fileError(fmt.Errorf("read program %q: %w", args[0], regfile.Cause(err)))
			}
			var p nixProgram
			if err := json.Unmarshal(withoutInterpreter(data), &p); err != nil {
				return usageError(fmt.Errorf("read program %q: %w", args[0], err))
			}
			root := cmd.Root()
			root.SetArgs(append(p.Args, args[1:]...))
			return root.ExecuteContext(cmd.Context())
		},
	}
}
