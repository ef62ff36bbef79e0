package cmdline

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const (
	// HelpWidth is the width of help, in columns.
	HelpWidth = 100
	// minNames and maxNames limit the width of the column of flags. A flag that does
	// not fit has its text below it.
	minNames, maxNames = 24, 30
)

// printUsage writes how a command is used: the part of help below a command's text.
func printUsage(cmd *cobra.Command) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage:\n")
	if cmd.Runnable() && !cmd.HasSubCommands() {
		fmt.Fprintf(&b, "  %s\n", cmd.UseLine())
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "  %s COMMAND [flags]\n", cmd.CommandPath())
	}
	if cmd.HasExample() {
		fmt.Fprintf(&b, "\nExamples:\n%s\n", cmd.Example)
	}
	writeCommands(&b, cmd)
	for _, s := range FlagSections(cmd) {
		fmt.Fprintf(&b, "\n%s:\n", s.Title)
		writeFlags(&b, s.Flags)
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "\n\"%s COMMAND --help\" says more about a command.\n", cmd.CommandPath())
	}
	_, err := io.WriteString(cmd.OutOrStderr(), b.String())
	return err
}

// writeCommands lists the commands below cmd, in their groups.
func writeCommands(b *strings.Builder, cmd *cobra.Command) {
	list := func(title, group string) {
		for _, c := range cmd.Commands() {
			if c.GroupID != group || !c.IsAvailableCommand() && c.Name() != "help" {
				continue
			}
			if title != "" {
				fmt.Fprintf(b, "\n%s:\n", title)
				title = ""
			}
			fmt.Fprintf(b, "  %-*s  %s\n", cmd.NamePadding(), c.Name(), c.Short)
		}
	}
	for _, g := range cmd.Groups() {
		list(g.Title, g.ID)
	}
	if len(cmd.Groups()) > 0 {
		list("Other commands", "")
	} else {
		list("Commands", "")
	}
}

// writeFlags lists flags in two columns.
func writeFlags(b *strings.Builder, flags []*pflag.Flag) {
	width := minNames
	for _, f := range flags {
		if n := len(flagNames(f)); n <= maxNames {
			width = max(width, n)
		}
	}
	indent := strings.Repeat(" ", 2+width+2)
	for _, f := range flags {
		names := flagNames(f)
		start := fmt.Sprintf("  %-*s  ", width, names)
		if len(names) > width {
			start = "  " + names + "\n" + indent
		}
		fmt.Fprintf(b, "%s%s\n", start, strings.Join(wrapped(FlagText(f), HelpWidth-len(indent)), "\n"+indent))
	}
}

// flagNames returns a flag with its placeholder, the short form in a column of its own.
func flagNames(f *pflag.Flag) string {
	if f.Shorthand == "" {
		return "    --" + f.Name + FlagValue(f)
	}
	return "-" + f.Shorthand + ", --" + f.Name + FlagValue(f)
}

// FlagValue returns what follows a flag's name: a space and the placeholder of its value.
func FlagValue(f *pflag.Flag) string {
	name, _ := pflag.UnquoteUsage(f)
	switch {
	case takesValue(f):
		return " " + name
	case f.Value.Type() == "BOOL":
		return "[=" + name + "]"
	}
	return ""
}

// FlagText returns what a flag does, the words that it takes, and its default. A text that
// begins with the placeholder and a colon names it for FlagValue alone.
func FlagText(f *pflag.Flag) string {
	name, text := pflag.UnquoteUsage(f)
	text = strings.TrimPrefix(text, name+": ")
	if words := choicesOf(f); len(words) > 0 {
		text += ": " + Alternatives(words)
	}
	var notes []string
	if isList(f) {
		notes = append(notes, "repeatable")
	}
	if value := f.DefValue; takesValue(f) && value != "" && value != "0" && value != "[]" {
		notes = append(notes, "default: "+strings.Replace(value, "h0m0s", "h", 1))
	}
	if len(notes) > 0 {
		text += " (" + strings.Join(notes, "; ") + ")"
	}
	return text
}

// Alternatives returns "a, b or c".
func Alternatives(words []string) string {
	last := len(words) - 1
	if last == 0 {
		return words[0]
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// wrapped divides text into lines of at most width columns, where its words allow it.
func wrapped(text string, width int) []string {
	var lines []string
	line, columns := "", 0
	for word := range strings.FieldsSeq(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case line == "":
			line, columns = word, n
		case columns+1+n > width:
			lines = append(lines, line)
			line, columns = word, n
		default:
			line, columns = line+" "+word, columns+1+n
		}
	}
	return append(lines, line)
}
