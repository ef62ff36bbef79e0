package cli

import (
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flagGroup is a heading below which a command's help lists flags.
type flagGroup string

const (
	imageGroup    flagGroup = "Image"
	fileGroup     flagGroup = "File"
	configGroup   flagGroup = "Config"
	storeGroup    flagGroup = "Store"
	scriptGroup   flagGroup = "Script"
	outputGroup   flagGroup = "Output"
	registryGroup flagGroup = "Registry and cache"
	generalGroup  flagGroup = "General"
)

// flagGroups returns the groups in the order of the help.
func flagGroups() []flagGroup {
	return []flagGroup{
		imageGroup, fileGroup, configGroup, storeGroup, scriptGroup, outputGroup, registryGroup, generalGroup,
	}
}

// The annotations of flags: the group, and the words that a flag takes.
const (
	groupAnnotation   = "varve_group"
	choicesAnnotation = "varve_choices"
)

// add gives a command flags of the group. Help lists them as they are declared.
func (at flagGroup) add(cmd *cobra.Command, declare func(f *pflag.FlagSet)) {
	cmd.Flags().AddFlagSet(at.declared(declare))
}

// declared returns flags of the group.
func (at flagGroup) declared(declare func(f *pflag.FlagSet)) *pflag.FlagSet {
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.SortFlags = false
	declare(f)
	f.VisitAll(func(flag *pflag.Flag) { annotate(flag, groupAnnotation, string(at)) })
	return f
}

func annotate(flag *pflag.Flag, key string, values ...string) {
	if flag.Annotations == nil {
		flag.Annotations = map[string][]string{}
	}
	flag.Annotations[key] = values
}

// choose has a flag take one of a few words, which help and completion list.
func choose(f *pflag.FlagSet, name string, words []string) {
	annotate(f.Lookup(name), choicesAnnotation, words...)
}

// showDefault says in help what holds without a flag, where its value does not say it.
func showDefault(f *pflag.FlagSet, name, text string) { f.Lookup(name).DefValue = text }

// FlagSection is a part of a command's flags, below a heading.
type FlagSection struct {
	Title string
	Flags []*pflag.Flag
}

// FlagSections returns a command's flags as its help lists them.
func FlagSections(cmd *cobra.Command) []FlagSection {
	cmd.InitDefaultHelpFlag() // which adds what the command inherits as well
	byGroup := map[flagGroup][]*pflag.Flag{}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if at := f.Annotations[groupAnnotation]; len(at) == 1 && !f.Hidden {
			byGroup[flagGroup(at[0])] = append(byGroup[flagGroup(at[0])], f)
		}
	})
	var sections []FlagSection
	for _, at := range flagGroups() {
		if flags := byGroup[at]; len(flags) > 0 {
			sections = append(sections, FlagSection{string(at) + " flags", flags})
		}
	}
	return sections
}

// finishFlags groups the flags that cobra makes, and has the shell complete the values of
// all. A command that does not say how its arguments are completed has none.
func (g *global) finishFlags(cmd *cobra.Command) {
	cmd.InitDefaultHelpFlag()
	cmd.InitDefaultVersionFlag()
	cmd.Flags().SortFlags = false
	for name, text := range map[string]string{"help": "show this help", "version": "show the version", "no-descriptions": "complete without descriptions"} {
		if f := cmd.Flags().Lookup(name); f != nil {
			f.Usage = text
			annotate(f, groupAnnotation, string(generalGroup))
		}
	}
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) { g.completeValues(cmd, f) })
	if cmd.ValidArgsFunction == nil && !cmd.DisableFlagParsing {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	for _, c := range cmd.Commands() {
		g.finishFlags(c)
	}
}

// takesValue reports whether a flag has to be followed by a value.
func takesValue(f *pflag.Flag) bool { return f.NoOptDefVal == "" }

// isList reports whether a flag may be given several times.
func isList(f *pflag.Flag) bool {
	if s, ok := f.Value.(*settingValue); ok {
		return s.flag.list
	}
	_, ok := f.Value.(pflag.SliceValue)
	return ok
}

// choicesOf returns the words that a flag takes, if they are few.
func choicesOf(f *pflag.Flag) []string { return slices.Clone(f.Annotations[choicesAnnotation]) }
