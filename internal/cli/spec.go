package cli

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/assemble"
	"github.com/varve-image/varve/internal/base"
	"github.com/varve-image/varve/internal/cli/explain"
	"github.com/varve-image/varve/internal/cli/specflags"
	"github.com/varve-image/varve/internal/cmdline"
	"github.com/varve-image/varve/internal/dockertools"
	"github.com/varve-image/varve/internal/nixstore/nixdb"
	"github.com/varve-image/varve/internal/problems"
	"github.com/varve-image/varve/spec"
)

// hostArchitecture is the architecture of images whose spec names none.
const hostArchitecture = runtime.GOARCH

// registerStore adds the flags of the commands that read store paths, or files by absolute
// paths.
func (c *command) registerStore(cmd *cobra.Command) {
	fileGroup.Add(cmd, func(f *pflag.FlagSet) {
		f.StringVar(&c.root, "root", "", "look for the store, and for input files with absolute paths, below `DIR`")
	})
	storeGroup.Add(cmd, func(f *pflag.FlagSet) {
		f.StringVar(&c.storeRoot, "store-root", "", "look for the store, and Nix's database of it, below `DIR` instead of --root")
	})
}

// registerVerify adds the flag of the commands that read store paths for an image.
func (c *command) registerVerify(cmd *cobra.Command) {
	storeGroup.Add(cmd, func(f *pflag.FlagSet) {
		f.BoolVar(&c.verifyStore, "verify-store", false, "compare the files of store paths with the hashes and sizes that Nix recorded; exit code 4 if they differ")
	})
}

// readSpec reads the spec that args name. Without one, flags have to say something.
func (c *command) readSpec(flags *specflags.Flags, args []string) (*specflags.Input, error) {
	if len(args) == 0 && len(flags.Settings) == 0 {
		return nil, cmdline.Usage(cmdline.Hint(errors.New("no spec"), "name a file such as image.yaml, - for standard input, or describe the image with flags (--name, --copy …)"))
	}
	return readInput(c, args)
}

// onePlatform returns the value of --platform; empty if it is not given.
func (c *command) onePlatform() (v1.Platform, error) {
	list, err := c.registry.list()
	if err != nil || len(list) == 0 {
		return v1.Platform{}, err
	}
	if len(list) > 1 {
		return v1.Platform{}, cmdline.Usage(cmdline.Hint(errors.New("several platforms were given, and this is for one"), "varve build makes an index of several"))
	}
	return list[0], nil
}

// parseOne reads a spec for the platform of --platform.
func (c *command) parseOne(flags *specflags.Flags, in *specflags.Input) (*spec.Spec, error) {
	p, err := c.onePlatform()
	if err != nil {
		return nil, err
	}
	return flags.Parse(in, hostArchitecture, p)
}

// buildParsed describes the image of a spec, whose varve.lock is at the path lock.
// more, if not nil, adds further options.
func buildParsed(ctx context.Context, c *command, s *spec.Spec, lock string, more func(*assemble.Options)) (*assemble.Result, error) {
	if err := c.readPushed(ctx); err != nil {
		return nil, err
	}
	opts := assemble.Options{
		Root: c.root, StoreRoot: c.storeRoot, VerifyStore: c.verifyStore,
		Architecture: hostArchitecture, Now: c.streams.Now(), TempDir: c.tempDir(),
		MaxUnpacked: int64(c.limits.unpacked), MaxEntries: c.limits.entries,
		Databases: nixdb.SQLite{},
		OpenBase: func(ctx context.Context, ref spec.Base) (*image.Stored, error) {
			return c.bases().Open(ctx, ref, lock)
		},
		OpenPlan: func(ctx context.Context, ref spec.Base) ([][]string, error) {
			plan, err := c.openPlan(ctx, s, ref, lock)
			if err != nil {
				return nil, err
			}
			return plan.Layers, nil
		},
		Steps: c.steps(), Memo: c.memo(ctx),
		Debug: func(text string) { c.ui.Debug("%s", text) },
	}
	if c.cache.pushed != nil {
		opts.Pushed = c.cache.pushed.Layer
	}
	var err error
	if opts.SourceDateEpoch, err = c.sourceDateEpoch(); err != nil {
		return nil, err
	}
	if more != nil {
		more(&opts)
	}
	done := c.prepare(ctx, "building "+s.Name)
	result, err := assemble.Build(ctx, s, opts)
	done()
	if err != nil {
		return nil, fmt.Errorf("build image %s: %w", s.Name, err)
	}
	for _, note := range result.Notes {
		c.ui.Info("%s", note)
	}
	for _, w := range result.Warnings {
		c.ui.Advise("%s", problems.Annotate(w, explain.Flags))
	}
	return result, nil
}

// readInput reads the file that args name: "-" means standard input, no name means no file. It also
// reads what the varve.lock beside it says of layers.
func readInput(c *command, args []string) (*specflags.Input, error) {
	in, err := readFile(c, args)
	if err != nil || dockertools.IsConf(in.Data) {
		return in, err
	}
	lock, err := base.ReadLock(in.Lock())
	if err != nil {
		return nil, err
	}
	in.LayerFormat = lock.LayerFormat
	return in, nil
}

func readFile(c *command, args []string) (*specflags.Input, error) {
	if len(args) == 0 {
		return &specflags.Input{}, nil
	}
	if args[0] == "-" {
		return specflags.ReadStdin(c.stdin)
	}
	in, err := specflags.ReadFile(args[0])
	if err != nil {
		return nil, err
	}
	c.ui.Debug("read spec %q: %d bytes", args[0], len(in.Data))
	in.Data = dockertools.WithoutInterpreter(in.Data)
	return in, nil
}
