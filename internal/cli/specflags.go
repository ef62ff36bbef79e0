package cli

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/assemble"
	"github.com/varve-image/varve/internal/cmdline"
	"github.com/varve-image/varve/internal/nixstore/nixdb"
	"github.com/varve-image/varve/internal/problems"
	"github.com/varve-image/varve/spec"
)

// hostArchitecture is the architecture of images that name none.
const hostArchitecture = runtime.GOARCH

// specFlags are the flags that stand for a spec or override one.
type specFlags struct {
	flags    *pflag.FlagSet
	settings []spec.Setting
}

// register adds a command's flags: all, or those of the given names.
func (s *specFlags) register(cmd *cobra.Command, names ...string) {
	s.flags = cmd.Flags()
	for _, section := range specFlagTable {
		section.group.Add(cmd, func(f *pflag.FlagSet) {
			for _, flag := range section.flags {
				if len(names) == 0 || slices.Contains(names, flag.name) {
					s.declare(f, flag)
				}
			}
		})
	}
}

func (s *specFlags) declare(f *pflag.FlagSet, flag specFlag) {
	f.Var(&settingValue{set: s, flag: flag}, flag.name, flag.help)
	if flag.value == "BOOL" {
		f.Lookup(flag.name).NoOptDefVal = "true"
	}
	cmdline.ShowDefault(f, flag.name, flag.unset)
	cmdline.Choose(f, flag.name, flag.choices())
}

// registerStore adds the flags of the commands that read store paths, or files by absolute
// paths.
func (g *global) registerStore(cmd *cobra.Command) {
	fileGroup.Add(cmd, func(f *pflag.FlagSet) {
		f.StringVar(&g.root, "root", "", "look for the store, and for input files with absolute paths, below `DIR`")
	})
	storeGroup.Add(cmd, func(f *pflag.FlagSet) {
		f.StringVar(&g.storeRoot, "store-root", "", "look for the store, and Nix's database of it, below `DIR` instead of --root")
	})
}

// registerVerify adds the flag of the commands that read store paths for an image.
func (g *global) registerVerify(cmd *cobra.Command) {
	storeGroup.Add(cmd, func(f *pflag.FlagSet) {
		f.BoolVar(&g.verifyStore, "verify-store", false, "compare the files of store paths with the hashes and sizes that Nix recorded; exit code 4 if they differ")
	})
}

// settingValue collects a flag's values as they come.
type settingValue struct {
	set  *specFlags
	flag specFlag
}

func (v *settingValue) String() string { return "" }
func (v *settingValue) Type() string   { return v.flag.value }

// Repeatable has help say that a list's flag may be given several times.
func (v *settingValue) Repeatable() bool { return v.flag.list }

func (v *settingValue) Set(value string) error {
	for i := range v.set.settings {
		if s := &v.set.settings[i]; s.Field == v.flag.field {
			if !v.flag.list {
				return fmt.Errorf("given twice: %q and %q", s.Values[0], value)
			}
			s.Values = append(s.Values, value)
			return nil
		}
	}
	v.set.settings = append(v.set.settings, spec.Setting{Field: v.flag.field, Flag: "--" + v.flag.name, Values: []string{value}})
	return nil
}

// setRepoTag has NAME:TAG override the spec's.
func (s *specFlags) setRepoTag(repoTag string) error {
	for _, other := range []string{"name", "tag"} {
		if s.flags.Changed(other) {
			return cmdline.Usage(fmt.Errorf("--repo_tag and --%s say the same: give one of them", other))
		}
	}
	name, tag := repoTag, ""
	if i := strings.LastIndexByte(repoTag, ':'); i > strings.LastIndexByte(repoTag, '/') {
		name, tag = repoTag[:i], repoTag[i+1:]
	}
	s.settings = append(s.settings, spec.Setting{Field: "name", Flag: "--repo_tag", Values: []string{name}})
	if tag != "" {
		s.settings = append(s.settings, spec.Setting{Field: "tag", Flag: "--repo_tag", Values: []string{tag}})
	}
	return nil
}

// read reads the spec that args name. Without one the flags have to say
// something.
func (s *specFlags) read(g *global, args []string) (*input, error) {
	if len(args) == 0 && len(s.settings) == 0 {
		return nil, cmdline.Usage(cmdline.Hint(errors.New("no spec"), "name a file such as image.yaml, - for standard input, or describe the image with flags (--name, --copy …)"))
	}
	return readInput(g, args)
}

// parse reads a spec. The platform, where it is not empty, takes the place of
// the spec's.
func (s *specFlags) parse(in *input, p v1.Platform) (*spec.Spec, error) {
	if p.OS != "" {
		for _, other := range []string{"os", "architecture", "variant"} {
			if s.flags.Changed(other) {
				return nil, cmdline.Usage(fmt.Errorf("--platform and --%s say the same: give one of them", other))
			}
		}
	}
	return spec.Parse(in.reader(), spec.Options{
		File: in.name, Dir: in.dir, Settings: s.settings, Architecture: hostArchitecture,
		Platform: spec.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant}, PlatformFlag: "--platform",
	})
}

// onePlatform is the platform of --platform; empty where it is not given.
func (g *global) onePlatform() (v1.Platform, error) {
	list, err := g.registry.list()
	if err != nil || len(list) == 0 {
		return v1.Platform{}, err
	}
	if len(list) > 1 {
		return v1.Platform{}, cmdline.Usage(cmdline.Hint(errors.New("several platforms were given, and this is for one"), "varve build makes an index of several"))
	}
	return list[0], nil
}

// parseOne reads a spec for the platform of --platform.
func (s *specFlags) parseOne(g *global, in *input) (*spec.Spec, error) {
	p, err := g.onePlatform()
	if err != nil {
		return nil, err
	}
	return s.parse(in, p)
}

// buildSpec describes the image of a spec.
func buildSpec(ctx context.Context, g *global, flags *specFlags, in *input) (*assemble.Result, error) {
	s, err := flags.parseOne(g, in)
	if err != nil {
		return nil, err
	}
	return buildParsed(ctx, g, s, in.lock(), nil)
}

// buildParsed describes the image of a spec, whose varve.lock has the path lock.
// more, if not nil, adds to what the image depends on besides.
func buildParsed(ctx context.Context, g *global, s *spec.Spec, lock string, more func(*assemble.Options)) (*assemble.Result, error) {
	opts := assemble.Options{
		Root: g.root, StoreRoot: g.storeRoot, VerifyStore: g.verifyStore,
		Architecture: hostArchitecture, Now: g.streams.Now(), TempDir: g.tempDir(),
		MaxUnpacked: int64(g.limits.unpacked), MaxEntries: g.limits.entries,
		Databases: nixdb.SQLite{},
		OpenBase: func(ctx context.Context, ref spec.Base) (*image.Stored, error) {
			return g.bases().Open(ctx, ref, lock)
		},
		Steps: g.steps(),
		Debug: func(text string) { g.ui.Debug("%s", text) },
	}
	var err error
	if opts.SourceDateEpoch, err = g.sourceDateEpoch(); err != nil {
		return nil, err
	}
	if more != nil {
		more(&opts)
	}
	result, err := assemble.Build(ctx, s, opts)
	if err != nil {
		return nil, fmt.Errorf("build image %s: %w", s.Name, err)
	}
	for _, note := range result.Notes {
		g.ui.Info("%s", note)
	}
	for _, w := range result.Warnings {
		g.advise("%s", problems.Annotate(w, flagsFor))
	}
	return result, nil
}

// advise writes a warning, once: builds for several platforms have the same.
func (g *global) advise(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if g.advised.first(text) {
		g.ui.Advise("%s", text)
	}
}
