package cmdline

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// CompletionTime is how long a shell waits for answers from a network or a file system.
const CompletionTime = time.Second

// completeValues makes the shell complete the values of a flag: its words, or what
// its placeholder stands for.
func (p Program) completeValues(cmd *cobra.Command, f *pflag.Flag) {
	if !takesValue(f) && f.Value.Type() != "BOOL" {
		return
	}
	complete := p.completerOf(f)
	if complete == nil {
		return // a file: shells complete these by themselves
	}
	if _, ok := cmd.GetFlagCompletionFunc(f.Name); ok {
		return
	}
	if err := cmd.RegisterFlagCompletionFunc(f.Name, complete); err != nil {
		panic(err) // a flag that cmd has, and that has no function yet
	}
}

// completerOf returns what completes a flag's values; nil if shells complete files.
func (p Program) completerOf(f *pflag.Flag) cobra.CompletionFunc {
	if words := choicesOf(f); len(words) > 0 {
		return Words(words...)
	}
	placeholder, _ := pflag.UnquoteUsage(f)
	if complete, ok := p.Values[placeholder]; ok {
		return complete
	}
	switch placeholder {
	case "FILE", "PATH", "PROGRAM", "SRC[:DST]", "SRC:DST", "FILE|DIR/":
		return nil
	case "DIR":
		return cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs)
	case "BOOL":
		return Words("true", "false")
	}
	return cobra.NoFileCompletions
}

// Words completes one of several words.
func Words(words ...string) cobra.CompletionFunc {
	return cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)
}

// CompleteArgs completes arguments, each in its own way; with repeat the last way is
// used for all that follow.
func CompleteArgs(repeat bool, each ...cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, text string) ([]cobra.Completion, cobra.ShellCompDirective) {
		i := len(args)
		if repeat {
			i = min(i, len(each)-1)
		}
		if i >= len(each) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return each[i](cmd, args, text)
	}
}

// CompleteFiles leaves completion of files to the shell.
func CompleteFiles(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveDefault
}

// StartingWith returns the elements of all that begin with text.
func StartingWith(text string, all []string) []string {
	return slices.DeleteFunc(all, func(s string) bool { return !strings.HasPrefix(s, text) })
}

// InTime returns what find finds within CompletionTime. After a completion that ends
// in a slash or a colon, the shell adds no space.
func InTime(ctx context.Context, find func(context.Context) []string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, CompletionTime)
	defer cancel()
	done := make(chan []string, 1)
	go func() { done <- find(ctx) }()
	directive := cobra.ShellCompDirectiveNoFileComp
	select {
	case found := <-done:
		slices.Sort(found)
		if slices.ContainsFunc(found, func(s string) bool { return strings.HasSuffix(s, "/") || strings.HasSuffix(s, ":") }) {
			directive |= cobra.ShellCompDirectiveNoSpace
		}
		return found, directive
	case <-ctx.Done():
		select { // so that a command that was asked ends first
		case <-done:
		case <-time.After(CompletionTime / 4):
		}
		return nil, directive
	}
}
