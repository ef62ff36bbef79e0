package cmdline

import (
	"cmp"
	"maps"
	"slices"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// FlagGroup is a heading under which a command's help lists flags.
type FlagGroup struct {
	// Rank orders the groups.
	Rank  int
	Title string
}

// The annotations of flags: the group, and the words that a flag takes.
const (
	groupAnnotation   = "cmdline_group"
	choicesAnnotation = "cmdline_choices"
)

// Add adds flags of the group to a command. Help lists them as they are declared.
func (at FlagGroup) Add(cmd *cobra.Command, declare func(f *pflag.FlagSet)) {
	cmd.Flags().AddFlagSet(at.Declared(declare))
}

// Declared returns flags of the group.
func (at FlagGroup) Declared(declare func(f *pflag.FlagSet)) *pflag.FlagSet {
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.SortFlags = false
	declare(f)
	f.VisitAll(func(flag *pflag.Flag) { at.own(flag) })
	return f
}

// own puts a flag into the group.
func (at FlagGroup) own(flag *pflag.Flag) {
	annotate(flag, groupAnnotation, strconv.Itoa(at.Rank), at.Title)
}

// groupOf returns the group of a flag, if it has one.
func groupOf(flag *pflag.Flag) (at FlagGroup, ok bool) {
	if words := flag.Annotations[groupAnnotation]; len(words) == 2 {
		rank, err := strconv.Atoi(words[0])
		return FlagGroup{rank, words[1]}, err == nil
	}
	return FlagGroup{}, false
}

func annotate(flag *pflag.Flag, key string, values ...string) {
	if flag.Annotations == nil {
		flag.Annotations = map[string][]string{}
	}
	flag.Annotations[key] = values
}

// Choose makes a flag take one of several words, which help and completion list.
func Choose(f *pflag.FlagSet, name string, words []string) {
	annotate(f.Lookup(name), choicesAnnotation, words...)
}

// ShowDefault sets what help says about the absence of a flag, if its value does not say it.
func ShowDefault(f *pflag.FlagSet, name, text string) { f.Lookup(name).DefValue = text }

// FlagSection is a part of a command's flags, under a heading.
type FlagSection struct {
	Title string
	Flags []*pflag.Flag
}

// FlagSections returns a command's flags as its help lists them.
func FlagSections(cmd *cobra.Command) []FlagSection {
	cmd.InitDefaultHelpFlag() // it adds what the command inherits, too
	byGroup := map[FlagGroup][]*pflag.Flag{}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if at, ok := groupOf(f); ok && !f.Hidden {
			byGroup[at] = append(byGroup[at], f)
		}
	})
	var sections []FlagSection
	byRank := func(a, b FlagGroup) int { return cmp.Compare(a.Rank, b.Rank) }
	for _, at := range slices.SortedFunc(maps.Keys(byGroup), byRank) {
		sections = append(sections, FlagSection{at.Title + " flags", byGroup[at]})
	}
	return sections
}

// takesValue reports whether a flag has to be followed by a value.
func takesValue(f *pflag.Flag) bool { return f.NoOptDefVal == "" }

// Repeatable is a flag's value that may be one of several.
type Repeatable interface{ Repeatable() bool }

// isList reports whether a flag may be given several times.
func isList(f *pflag.Flag) bool {
	if v, ok := f.Value.(Repeatable); ok {
		return v.Repeatable()
	}
	_, ok := f.Value.(pflag.SliceValue)
	return ok
}

// choicesOf returns the words that a flag takes, if they are few.
func choicesOf(f *pflag.Flag) []string { return slices.Clone(f.Annotations[choicesAnnotation]) }
