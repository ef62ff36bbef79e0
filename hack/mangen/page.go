package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/varve-image/varve/internal/cmdline"
)

// pageName returns the name of a command's page, such as varve-cache-ls.
func pageName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// page returns a command's manual page in the macros of man(7), which every
// formatter of manual pages knows.
func page(cmd *cobra.Command, date string) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH %q 1 %q \"varve\" \"varve manual\"\n", strings.ToUpper(pageName(cmd)), date)
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", escaped(pageName(cmd)), escaped(cmd.Short))
	b.WriteString(".SH SYNOPSIS\n")
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, ".B %s\n.I COMMAND\n[flags]\n", escaped(cmd.CommandPath()))
	} else {
		fmt.Fprintf(&b, ".B %s\n", escaped(cmd.UseLine()))
	}
	if cmd.Long != "" {
		b.WriteString(".SH DESCRIPTION\n")
		writeText(&b, cmd.Long)
	}
	writeCommands(&b, cmd)
	for _, s := range cmdline.FlagSections(cmd) {
		fmt.Fprintf(&b, ".SH %s\n", strings.ToUpper(s.Title))
		for _, f := range s.Flags {
			fmt.Fprintf(&b, ".TP\n%s\n%s\n", flagTerm(f), escaped(cmdline.FlagText(f)))
		}
	}
	if cmd.Example != "" {
		b.WriteString(".SH EXAMPLES\n")
		writeVerbatim(&b, strings.Split(cmd.Example, "\n"))
	}
	writeSeeAlso(&b, cmd)
	return b.String()
}

// flagTerm returns a flag with its value: the first bold, the second in italics.
func flagTerm(f *pflag.Flag) string {
	term := `\fB` + escaped("--"+f.Name) + `\fR`
	if f.Shorthand != "" {
		term = `\fB` + escaped("-"+f.Shorthand) + `\fR, ` + term
	}
	if value := cmdline.FlagValue(f); value != "" {
		term += `\fI` + escaped(value) + `\fR`
	}
	return term
}

func writeCommands(b *strings.Builder, cmd *cobra.Command) {
	if len(documented(cmd)) > 0 {
		b.WriteString(".SH COMMANDS\n")
	}
	for _, c := range documented(cmd) {
		fmt.Fprintf(b, ".TP\n.BR %s (1)\n%s\n", escaped(pageName(c)), escaped(c.Short))
	}
}

func writeSeeAlso(b *strings.Builder, cmd *cobra.Command) {
	if cmd.HasParent() {
		fmt.Fprintf(b, ".SH SEE ALSO\n.BR %s (1)\n", escaped(pageName(cmd.Parent())))
	}
}

// writeText writes paragraphs. Indented lines stay as they are: they are tables and commands.
func writeText(b *strings.Builder, text string) {
	for paragraph := range strings.SplitSeq(text, "\n\n") {
		b.WriteString(".PP\n")
		var table []string
		for line := range strings.SplitSeq(paragraph, "\n") {
			if strings.HasPrefix(line, "  ") {
				table = append(table, line)
				continue
			}
			writeVerbatim(b, table)
			table = nil
			b.WriteString(escaped(line) + "\n")
		}
		writeVerbatim(b, table)
	}
}

func writeVerbatim(b *strings.Builder, lines []string) {
	if len(lines) == 0 {
		return
	}
	b.WriteString(".PP\n.nf\n")
	for _, line := range lines {
		b.WriteString(escaped(line) + "\n")
	}
	b.WriteString(".fi\n")
}

// escaped escapes text for the formatter: a backslash begins its requests, as does a dot
// or an apostrophe at the start of a line, and a bare dash is a hyphen.
func escaped(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "’", `\(cq`, "'", `\(aq`, "…", "...").Replace(text)
	if strings.HasPrefix(text, ".") {
		text = `\&` + text
	}
	return text
}
