package cli

import (
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/varve-image/varve/internal/cmdline"
)

// eachFlag calls check with every flag of every command that users see.
func eachFlag(t *testing.T, check func(t *testing.T, cmd *cobra.Command, f *pflag.Flag)) {
	t.Helper()
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Hidden {
			return
		}
		t.Run(strings.ReplaceAll(cmd.CommandPath(), " ", "-"), func(t *testing.T) {
			cmd.InheritedFlags() // which adds them
			cmd.Flags().VisitAll(func(f *pflag.Flag) {
				if !f.Hidden {
					check(t, cmd, f)
				}
			})
		})
		for _, c := range cmd.Commands() {
			walk(c)
		}
	}
	walk(Command())
}

// TestFlags: help lists every flag in a group, with a text that begins in the same way and
// placeholders of one style.
func TestFlags(t *testing.T) {
	placeholder := regexp.MustCompile(`^( [A-Z][]A-Z:/=|[]*|\[=BOOL\])?$`)
	text := regexp.MustCompile(`^([a-z]|[A-Z]{2}|JSON|PATH).*[^.;, ]$`)
	eachFlag(t, func(t *testing.T, cmd *cobra.Command, f *pflag.Flag) {
		listed := false
		for _, s := range cmdline.FlagSections(cmd) {
			for _, other := range s.Flags {
				listed = listed || other == f
			}
		}
		if !listed {
			t.Errorf("--%s is in no group", f.Name)
		}
		if value := cmdline.FlagValue(f); !placeholder.MatchString(value) {
			t.Errorf("--%s: the placeholder is %q, want capital letters", f.Name, value)
		}
		if s := cmdline.FlagText(f); !text.MatchString(s) || strings.ContainsRune(s, '`') {
			t.Errorf("--%s: the text is %q", f.Name, s)
		}
	})
}

// TestFlagWords: a flag whose placeholder stands for words lists and completes them;
// completion of files is left to the shell.
func TestFlagWords(t *testing.T) {
	files := map[string]bool{"": true, " FILE": true, " PATH": true, " PROGRAM": true, " SRC[:DST]": true, " SRC:DST": true, " FILE|DIR/": true}
	words := map[string]bool{" HOW": true, " WHAT": true, " ARCH": true, " FIELD": true, " ENGINE": true, " NAME[=ARG]": true}
	eachFlag(t, func(t *testing.T, cmd *cobra.Command, f *pflag.Flag) {
		value := cmdline.FlagValue(f)
		complete, ok := cmd.GetFlagCompletionFunc(f.Name)
		if !ok && !files[value] {
			t.Errorf("--%s%s is not completed", f.Name, value)
		}
		if !words[value] {
			return
		}
		offered, _ := complete(cmd, nil, "")
		if len(offered) == 0 {
			t.Errorf("--%s offers no word", f.Name)
		}
		for _, word := range offered {
			if !strings.Contains(cmdline.FlagText(f), word) {
				t.Errorf("--%s completes %q, and its text does not name it: %s", f.Name, word, cmdline.FlagText(f))
			}
		}
	})
}

// TestCommandGroups: every command is in a group, except those about varve itself.
func TestCommandGroups(t *testing.T) {
	own := map[string]bool{"help": true, "completion": true, "version": true}
	root := Command()
	for _, c := range root.Commands() {
		if !c.Hidden && (c.GroupID == "") != own[c.Name()] {
			t.Errorf("%s is in group %q", c.Name(), c.GroupID)
		}
		if !root.ContainsGroup(c.GroupID) && c.GroupID != "" {
			t.Errorf("%s is in group %q, which there is not", c.Name(), c.GroupID)
		}
	}
}

// TestUsageWidth: no line of a command's flags is wider than help is.
func TestUsageWidth(t *testing.T) {
	for _, c := range Command().Commands() {
		for line := range strings.Lines(c.UsageString()) {
			if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > cmdline.HelpWidth && strings.HasPrefix(line, "      ") {
				t.Errorf("%s: %d columns: %s", c.Name(), n, line)
			}
		}
	}
}
