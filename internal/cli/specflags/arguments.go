package specflags

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/varve-image/varve/internal/cmdline"
	"github.com/varve-image/varve/spec"
)

// RegisterArguments adds the flag that gives a spec's args values.
func (s *Flags) RegisterArguments(cmd *cobra.Command, group cmdline.FlagGroup) {
	group.Add(cmd, func(f *pflag.FlagSet) {
		f.Var((*arguments)(&s.arguments), "set", "value of an argument that the spec declares in args")
	})
}

// arguments collects the values of --set.
type arguments []spec.Argument

func (a *arguments) String() string { return "" }
func (a *arguments) Type() string   { return "NAME=VALUE" }

// Repeatable makes help say that the flag may be given several times.
func (a *arguments) Repeatable() bool { return true }

// Set takes NAME=VALUE.
func (a *arguments) Set(text string) error {
	name, value, ok := strings.Cut(text, "=")
	if !ok || name == "" {
		return fmt.Errorf("got %q, want NAME=VALUE", text)
	}
	*a = append(*a, spec.Argument{Name: name, Value: value, Flag: "--set"})
	return nil
}
