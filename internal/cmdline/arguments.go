package cmdline

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/varve-image/varve/internal/human"
	"github.com/varve-image/varve/internal/suggest"
)

// usageArgs turns errors of check into usage errors, which show how the command is used.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if check == nil || check(cmd, args) == nil {
			return nil
		}
		if cmd.HasSubCommands() {
			return unknownCommand(cmd, args[0])
		}
		text := "no argument"
		if len(args) > 0 {
			text = fmt.Sprintf("%s: %s", human.Count(len(args), "argument"), quotedList(args))
		}
		return Usage(Hint(fmt.Errorf("%s: got %s", commandName(cmd), text), "it is used as "+cmd.Parent().CommandPath()+" "+cmd.Use))
	}
}

// commandName returns the command's name for messages, which begin with the
// program's name.
func commandName(cmd *cobra.Command) string {
	return strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" ")
}

// quotedList returns the first few arguments for a message.
func quotedList(args []string) string {
	const most = 5
	quoted := make([]string, 0, most)
	for _, a := range args[:min(len(args), most)] {
		quoted = append(quoted, fmt.Sprintf("%.80q", a))
	}
	if len(args) > most {
		quoted = append(quoted, "…")
	}
	return strings.Join(quoted, ", ")
}

// unknownCommand returns the error for a word that is not a command below cmd.
func unknownCommand(cmd *cobra.Command, word string) error {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	err := fmt.Errorf("unknown command %q", word)
	if cmd.HasParent() {
		err = fmt.Errorf("%s: %w", commandName(cmd), err)
	}
	if near := suggest.Nearest(word, names); near != "" {
		return Usage(Hint(err, "did you mean "+near+"?"))
	}
	return Usage(Hint(err, "see "+cmd.CommandPath()+" --help"))
}

// knownCommand refuses a first word that is not a command.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return unknownCommand(cmd, args[0])
}

// newHelp makes the help command, whose arguments have to be a command.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Show what a command does",
		RunE: func(cmd *cobra.Command, args []string) error {
			at, err := commandAt(cmd.Root(), args)
			if err != nil {
				return err
			}
			return at.Help()
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			var names []cobra.Completion
			if at, err := commandAt(cmd.Root(), args); err == nil {
				for _, c := range at.Commands() {
					if c.IsAvailableCommand() {
						names = append(names, cobra.CompletionWithDesc(c.Name(), c.Short))
					}
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
}

// commandAt finds the command that words name, each below the one before.
func commandAt(at *cobra.Command, words []string) (*cobra.Command, error) {
	for _, word := range words {
		found, _, err := at.Find([]string{word})
		if err != nil || found == at {
			return nil, unknownCommand(at, word)
		}
		at = found
	}
	return at, nil
}

// flagError describes in this program's words what is wrong with a flag.
func (p Program) flagError(cmd *cobra.Command, err error) error {
	var (
		unknown *pflag.NotExistError
		lacking *pflag.ValueRequiredError
		invalid *pflag.InvalidValueError
		syntax  *pflag.InvalidSyntaxError
	)
	switch {
	case errors.As(err, &unknown):
		err = p.unknownFlag(cmd, unknown)
	case errors.As(err, &lacking):
		value, _ := pflag.UnquoteUsage(lacking.GetFlag())
		err = fmt.Errorf("--%s needs a value: --%s %s", lacking.GetFlag().Name, lacking.GetFlag().Name, cmp.Or(value, "VALUE"))
	case errors.As(err, &invalid):
		err = invalidValue(invalid)
	case errors.As(err, &syntax):
		err = Hint(fmt.Errorf("%q is not a flag", syntax.GetSpecifiedFlag()), "an argument that begins with a dash comes after --")
	}
	return Usage(err)
}

func (p Program) unknownFlag(cmd *cobra.Command, unknown *pflag.NotExistError) error {
	if letters := unknown.GetSpecifiedShortnames(); letters != "" {
		return Hint(fmt.Errorf("%s has no flag %q", commandName(cmd), "-"+unknown.GetSpecifiedName()), "see "+cmd.CommandPath()+" --help")
	}
	name := unknown.GetSpecifiedName()
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	near := suggest.Nearest(name, names)
	if other := p.OtherFlags[name]; cmd.Flags().Lookup(other) != nil {
		near = other
	}
	err := fmt.Errorf("%s has no flag %q", commandName(cmd), "--"+name)
	if near != "" {
		return Hint(err, "did you mean --"+near+"?")
	}
	return Hint(err, "see "+cmd.CommandPath()+" --help")
}

// invalidValue says what a flag takes.
func invalidValue(e *pflag.InvalidValueError) error {
	wanted := map[string]string{
		"int": "a whole number", "uint32": "a whole number from 0 to 4294967295", "duration": "a duration such as 90s or 2h",
		"bool": "true or false", "count": "no value, or a whole number",
	}[e.GetFlag().Value.Type()]
	if wanted == "" { // a value type of this program's own
		return fmt.Errorf("--%s %.80q: %w", e.GetFlag().Name, e.GetValue(), e.Unwrap())
	}
	return fmt.Errorf("--%s %.80q: expected %s", e.GetFlag().Name, e.GetValue(), wanted)
}
