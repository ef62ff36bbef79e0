package cmdline

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Program holds what only a program knows about its command line.
type Program struct {
	// General is the group of the flags that every command has: --help.
	General FlagGroup
	// Values complete the values of flags, by their placeholders. FILE, PATH,
	// PROGRAM, DIR, BOOL, SRC[:DST] and the like need no entry.
	Values map[string]cobra.CompletionFunc
	// OtherFlags maps other tools' names for flags to this program's.
	OtherFlags map[string]string
}

// Prepare gives a program's complete set of commands their help, their completion,
// and errors for wrong arguments and flags.
func (p Program) Prepare(root *cobra.Command) {
	root.SetFlagErrorFunc(p.flagError)
	root.SetUsageFunc(printUsage)
	root.SetHelpCommand(newHelp())
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	root.Args = knownCommand
	for _, c := range root.Commands() {
		strict(c)
	}
	p.finishFlags(root)
}

// strict makes wrong arguments of a command, and of those below it, usage errors.
func strict(cmd *cobra.Command) {
	cmd.Args = usageArgs(cmd.Args)
	if !cmd.Runnable() { // otherwise cobra would take any word, and do nothing
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	for _, c := range cmd.Commands() {
		strict(c)
	}
}

// finishFlags groups the flags that cobra makes, and makes the shell complete the values
// of all. A command that does not say how to complete its arguments gets no completion.
func (p Program) finishFlags(cmd *cobra.Command) {
	cmd.InitDefaultHelpFlag()
	cmd.InitDefaultVersionFlag()
	cmd.Flags().SortFlags = false
	for name, text := range map[string]string{"help": "show this help", "version": "show the version", "no-descriptions": "complete without descriptions"} {
		if f := cmd.Flags().Lookup(name); f != nil {
			f.Usage = text
			p.General.own(f)
		}
	}
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) { p.completeValues(cmd, f) })
	if cmd.ValidArgsFunction == nil && !cmd.DisableFlagParsing {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	for _, c := range cmd.Commands() {
		p.finishFlags(c)
	}
}
