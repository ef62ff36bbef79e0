// Package specflags reads a spec as a command line gives it: from a file or standard
// input, from flags that stand for its fields, or from both; flags take precedence.
//
// Guarantees:
//
//   - Every scalar and list field of the spec has a flag, and all flags are in one
//     table.
//   - A flag's value is checked like the field's, by package spec.
//
// Non-goals: what a spec means.
package specflags

import (
	"fmt"
	"slices"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/varve-image/varve/internal/cmdline"
	"github.com/varve-image/varve/spec"
)

// Flags are the flags that stand for a spec or override one, with their values. The
// zero value overrides nothing.
type Flags struct {
	flags *pflag.FlagSet
	// Settings are the fields that were set, in the order of their flags.
	Settings []spec.Setting
	// arguments are the values of --set.
	arguments []spec.Argument
}

// Groups are the headings under which help lists the flags.
type Groups struct{ Image, File, Config, Store, Script, Output cmdline.FlagGroup }

// Register adds a command's flags: all, or those with the given names.
func (s *Flags) Register(cmd *cobra.Command, groups Groups, names ...string) {
	s.flags = cmd.Flags()
	if len(names) == 0 {
		s.RegisterArguments(cmd, groups.Image)
	}
	for _, section := range table {
		section.group(groups).Add(cmd, func(f *pflag.FlagSet) {
			for _, flag := range section.flags {
				if len(names) == 0 || slices.Contains(names, flag.name) {
					s.declare(f, flag)
				}
			}
		})
	}
}

func (s *Flags) declare(f *pflag.FlagSet, flag row) {
	f.Var(&settingValue{set: s, flag: flag}, flag.name, flag.help)
	if flag.value == "BOOL" {
		f.Lookup(flag.name).NoOptDefVal = "true"
	}
	cmdline.ShowDefault(f, flag.name, flag.unset)
	cmdline.Choose(f, flag.name, flag.choices())
}

// settingValue collects a flag's values as they come.
type settingValue struct {
	set  *Flags
	flag row
}

func (v *settingValue) String() string { return "" }
func (v *settingValue) Type() string   { return v.flag.value }

// Repeatable makes help say that a list's flag may be given several times.
func (v *settingValue) Repeatable() bool { return v.flag.list }

func (v *settingValue) Set(value string) error {
	for i := range v.set.Settings {
		if s := &v.set.Settings[i]; s.Field == v.flag.field {
			if !v.flag.list {
				return fmt.Errorf("given twice: %q and %q", s.Values[0], value)
			}
			s.Values = append(s.Values, value)
			return nil
		}
	}
	v.set.Settings = append(v.set.Settings, spec.Setting{Field: v.flag.field, Flag: "--" + v.flag.name, Values: []string{value}})
	return nil
}

// SetRepoTag overrides the spec's name and tag with NAME:TAG.
func (s *Flags) SetRepoTag(repoTag string) error {
	for _, other := range []string{"name", "tag"} {
		if s.changed(other) {
			return cmdline.Usage(fmt.Errorf("--repo_tag and --%s say the same: give one of them", other))
		}
	}
	name, tag := repoTag, ""
	if i := strings.LastIndexByte(repoTag, ':'); i > strings.LastIndexByte(repoTag, '/') {
		name, tag = repoTag[:i], repoTag[i+1:]
	}
	s.Settings = append(s.Settings, spec.Setting{Field: "name", Flag: "--repo_tag", Values: []string{name}})
	if tag != "" {
		s.Settings = append(s.Settings, spec.Setting{Field: "tag", Flag: "--repo_tag", Values: []string{tag}})
	}
	return nil
}

// Parse reads a spec. The platform, if not empty, replaces the spec's; architecture
// is used for an image that names none.
func (s *Flags) Parse(in *Input, architecture string, p v1.Platform) (*spec.Spec, error) {
	if p.OS != "" {
		for _, other := range []string{"os", "architecture", "variant"} {
			if s.changed(other) {
				return nil, cmdline.Usage(fmt.Errorf("--platform and --%s say the same: give one of them", other))
			}
		}
	}
	return spec.Parse(in.reader(), spec.Options{
		File: in.Name, Dir: in.Dir, Settings: s.Settings, Arguments: s.arguments, Architecture: architecture, LayerFormat: in.LayerFormat,
		Platform: spec.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant}, PlatformFlag: "--platform",
	})
}

func (s *Flags) changed(flag string) bool { return s.flags != nil && s.flags.Changed(flag) }
