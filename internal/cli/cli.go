// Package cli is varve's command line: one file for each command, with newX
// that declares it and runX that runs it.
//
// Standard output carries only what was asked for; everything else goes to
// standard error. Only this package reads the environment and the clock, and
// no part of it ends the process. How flags, help and completion work is up to
// package cmdline.
package cli

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/varve-image/varve/internal/cmdline"
	"github.com/varve-image/varve/internal/flock"
	"github.com/varve-image/varve/internal/problems"
	"github.com/varve-image/varve/internal/ui"
)

// Main runs the command that args name and returns the exit code.
func Main(args []string, s cmdline.Streams) int {
	g := &global{streams: s}
	err := g.streams.Run(func(ctx context.Context) error {
		ctx = flock.WithNotice(ctx, func(what string) { g.ui.Warn("waiting: %s", what) })
		defer func() {
			g.closers.Close()
			g.limitCache(ctx)
		}()
		return cmdline.Execute(ctx, newRoot(g), args, s.Out)
	})
	if err == nil {
		return exitDone
	}
	g.report(err)
	return exitCode(err)
}

// report tells the user what went wrong.
func (g *global) report(err error) {
	u := g.ui
	if u == nil {
		u, _ = ui.New(g.uiStreams(), ui.Options{})
	}
	err = problems.Annotate(err, flagsFor)
	var h *cmdline.HintedError
	if errors.As(err, &h) {
		u.Error(err, h.Hints...)
		return
	}
	hints, err := explain(err)
	u.Error(err, hints...)
}

// global holds the flags that every command has.
type global struct {
	streams   cmdline.Streams
	ui        *ui.UI
	root      string
	storeRoot string
	// verifyStore compares store paths with their hashes.
	verifyStore bool
	progress    string
	logFormat   string
	quiet       bool
	verbose     int
	registry    registryFlags
	cache       cacheFlags
	limits      limits
	// unlocked allows a base image to be named by a tag; locked requires it to be
	// pinned and taken from the cache alone.
	unlocked, locked bool
	// allowNetwork allows scripts to use the machine's network.
	allowNetwork bool
	stepLimits   stepLimits
	// vmKernel is the kernel for virtual machines.
	vmKernel string

	// The fields below change while the command runs.
	stdin   cmdline.Claim
	login   login
	advised said
	closers cmdline.Closers
}

// said records the texts that were written already.
type said map[string]bool

// first reports whether a text is new.
func (s *said) first(text string) bool {
	if (*s)[text] {
		return false
	}
	if *s == nil {
		*s = said{}
	}
	(*s)[text] = true
	return true
}

func (g *global) uiStreams() ui.Streams {
	return ui.Streams{In: g.streams.In, Out: g.streams.Out, Err: g.streams.Err, Getenv: g.env}
}

func newRoot(g *global) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "varve",
		Short: "Build container images from files and store closures: same input, same bytes",
		Long: `varve builds container images from files, packages and Nix store closures.
Same input, same bytes; no daemon, no root, no virtual machine.

It runs on Linux and macOS. Scripts in specs, and run-step, need Linux 5.12 or later on
amd64 or arm64, with user namespaces. With isolation: vm they also need QEMU and a kernel,
on amd64.`,
		Example: `  varve build image.yaml                                  write NAME.tar.gz
  varve build --name hello --copy ./rootfs --cmd /bin/hello -o hello.tar
  varve stream image.yaml | docker load
  varve inspect hello.tar`,
		SilenceUsage:  true,
		Version:       versionText(),
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(*cobra.Command, []string) (err error) {
			switch {
			case g.locked && g.unlocked:
				return cmdline.Usage(errors.New("--locked and --unlocked contradict each other"))
			case g.locked && g.cache.off:
				return cmdline.Usage(errors.New("--locked takes the base image from the cache, which --no-cache leaves out"))
			}
			if err := errors.Join(g.limits.check(), g.stepLimits.check()); err != nil {
				return err
			}
			g.ui, err = ui.New(g.uiStreams(), ui.Options{
				Progress: g.progress, LogFormat: g.logFormat, Quiet: g.quiet, Verbose: g.verbose, Now: g.streams.Now,
			})
			return cmdline.Usage(err)
		},
	}
	cmd.PersistentFlags().AddFlagSet(generalGroup.Declared(func(f *pflag.FlagSet) {
		f.StringVar(&g.progress, "progress", "auto", "`HOW`: how progress is shown")
		cmdline.Choose(f, "progress", ui.ProgressModes())
		f.StringVar(&g.logFormat, "log-format", "text", "`HOW`: how messages are written")
		cmdline.Choose(f, "log-format", ui.LogFormats())
		f.BoolVarP(&g.quiet, "quiet", "q", false, "write only errors, and what is left out or refused")
		f.CountVarP(&g.verbose, "verbose", "v", "write what is found and done on the way as well")
	}))
	cmd.SetIn(g.streams.In)
	cmd.SetErr(g.streams.Err)
	g.addCommands(cmd)
	g.program().Prepare(cmd)
	// Flags are not known before the command's name, and one of them without a value
	// would take the command for its value.
	cmd.Flags().BoolVar(&g.cache.off, "no-cache", false, "")
	cmd.Flags().Lookup("no-cache").Hidden = true
	return cmd
}

// Command returns the command line, for callers that document it and run nothing.
func Command() *cobra.Command {
	none := func(string) (string, bool) { return "", false }
	return newRoot(&global{streams: cmdline.Streams{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard, LookupEnv: none, Now: time.Now}})
}

// The groups of commands.
const (
	buildCommands = "build"
	moveCommands  = "move"
	lookCommands  = "look"
	baseCommands  = "base"
	nixCommands   = "nix"
)

// addCommands gives the program its commands, in their groups.
func (g *global) addCommands(root *cobra.Command) {
	root.AddGroup(
		&cobra.Group{ID: buildCommands, Title: "Build images"},
		&cobra.Group{ID: moveCommands, Title: "Move and change images"},
		&cobra.Group{ID: lookCommands, Title: "Look into images"},
		&cobra.Group{ID: baseCommands, Title: "Base images and the cache"},
		&cobra.Group{ID: nixCommands, Title: "Nix"},
	)
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add(buildCommands, newBuild(g), newStream(g), newRunStep(g), newSchema(g))
	add(moveCommands, newCopy(g), newPush(g), newPull(g), newLoad(g), newIndex(g), newMerge(g), newRebase(g), newExport(g), newTree(g))
	add(lookCommands, newInspect(g), newLayers(g), newTarsum(g))
	add(baseCommands, newLock(g), newCache(g))
	add(nixCommands, newShell(g), newPrefetch(g))
	root.AddCommand(newVersion(g), newNixBuild(g), newNixRun())
}

// registerBuild adds the flags of the commands that build.
func (g *global) registerBuild(cmd *cobra.Command) {
	g.registerStore(cmd)
	g.registerVerify(cmd)
	g.registerSteps(cmd)
	g.registry.register(cmd)
	g.cache.register(cmd)
	registryGroup.Add(cmd, func(f *pflag.FlagSet) {
		f.BoolVar(&g.unlocked, "unlocked", false, "take what the base image's tag names now, whatever varve.lock says")
		f.BoolVar(&g.locked, "locked", false, "take the base image from the cache alone; it has to be pinned")
	})
	g.limits.register(cmd)
}

// registerRead adds the flags of the commands that read images: from a registry, too, and
// of several the one for a platform.
func (g *global) registerRead(cmd *cobra.Command) {
	g.registry.registerPlatform(cmd, "choose the image for `OS/ARCH[/VARIANT]` where there are several", "linux and this machine's architecture")
	g.registry.register(cmd)
	g.limits.register(cmd)
}

// registerCopy adds the flags of the commands that read images and write others, whose layers
// they may compress.
func (g *global) registerCopy(cmd *cobra.Command) {
	g.registerRead(cmd)
	g.cache.register(cmd)
}
