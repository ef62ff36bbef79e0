// Package cli is varve's command line: one file for each command, with newX
// that declares it and runX that runs it.
//
// All commands have the same environment, which does not change. The values of flags,
// and what is open while a command runs, belong to one command.
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

	"github.com/varve-image/varve/internal/cli/explain"
	"github.com/varve-image/varve/internal/cmdline"
	"github.com/varve-image/varve/internal/flock"
	"github.com/varve-image/varve/internal/problems"
	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/internal/tally"
	"github.com/varve-image/varve/internal/transfer"
	"github.com/varve-image/varve/internal/ui"
)

// Main runs the command that args name and returns the exit code.
func Main(args []string, s cmdline.Streams) int {
	u := newUI(s)
	err := s.Run(func(ctx context.Context) error {
		ctx = flock.WithNotice(ctx, func(what string) { u.Warn("waiting: %s", what) })
		return cmdline.Execute(ctx, newRoot(newEnvironment(s, u)), args, s.Out)
	})
	if err == nil {
		return explain.Done
	}
	report(u, err)
	return explain.ExitCode(err)
}

// report tells the user what went wrong.
func report(u *ui.UI, err error) {
	err = problems.Annotate(err, explain.Flags)
	var h *cmdline.HintedError
	if errors.As(err, &h) {
		u.Error(err, h.Hints...)
		return
	}
	hints, err := explain.Hints(err)
	u.Error(err, hints...)
}

// environment is what every command runs in. It does not change.
type environment struct {
	streams cmdline.Streams
	stdin   *cmdline.Stdin
	ui      *ui.UI
}

func newEnvironment(s cmdline.Streams, u *ui.UI) *environment {
	return &environment{streams: s, stdin: &cmdline.Stdin{In: s.In}, ui: u}
}

func (e *environment) tempDir() string { return e.streams.Getenv("TMPDIR") }

// newUI returns a UI with its defaults; the flags of all commands may change them.
func newUI(s cmdline.Streams) *ui.UI {
	return ui.New(ui.Streams{Err: s.Err, Getenv: s.Getenv})
}

// command is one of the commands: what it runs in, the flags that several commands have,
// with defaults for those that it does not have, and what it keeps while it runs.
type command struct {
	*environment
	root      string
	storeRoot string
	// verifyStore compares store paths with their hashes.
	verifyStore bool
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

	// dests are where a build's image goes; none if it goes nowhere.
	dests []transfer.Destination
	// results are what destinations have by now, and metadataFile is where that is written as well.
	results      results
	metadataFile string
	login        login
	// lookedUp are the images that lock has looked up.
	lookedUp []lockData
	closers  cmdline.Closers
	// preparing is shown until layers are.
	preparing *ui.Task
}

func newCommand(e *environment) *command {
	return &command{environment: e, stepLimits: stepLimits{time: sandbox.DefaultTime, processes: sandbox.DefaultProcesses}}
}

// run returns what runs the command, with its arguments, once its flags have been read.
func (c *command) run(what func(context.Context, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case c.locked && c.unlocked:
			return cmdline.Usage(errors.New("--locked and --unlocked contradict each other"))
		case len(c.cache.from) > 0 && c.cache.off:
			return cmdline.Usage(errors.New("--cache-from and --no-cache contradict each other"))
		case c.locked && c.cache.off:
			return cmdline.Usage(errors.New("--locked takes the base image from the cache, which --no-cache leaves out"))
		}
		if err := errors.Join(c.limits.check(), c.stepLimits.check()); err != nil {
			return err
		}
		defer func() {
			c.closers.Close()
			c.limitCache(cmd.Context())
		}()
		ctx := tally.With(cmd.Context())
		if err := c.checkMetadata(); err != nil {
			return err
		}
		err := c.report(ctx, what(ctx, args))
		if err == nil {
			c.ui.Total(tally.From(ctx))
		}
		return err
	}
}

func newRoot(e *environment) *cobra.Command {
	opts := ui.Options{Now: e.streams.Now}
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
		PersistentPreRunE: func(*cobra.Command, []string) error {
			return cmdline.Usage(e.ui.Use(opts))
		},
	}
	cmd.PersistentFlags().AddFlagSet(generalGroup.Declared(func(f *pflag.FlagSet) {
		f.StringVar(&opts.Progress, "progress", "auto", "`HOW`: how progress is shown")
		cmdline.Choose(f, "progress", ui.ProgressModes())
		f.StringVar(&opts.LogFormat, "log-format", "text", "`HOW`: how messages are written")
		cmdline.Choose(f, "log-format", ui.LogFormats())
		f.BoolVarP(&opts.Quiet, "quiet", "q", false, "write only errors, and what is left out or refused")
		f.CountVarP(&opts.Verbose, "verbose", "v", "write what is found and done on the way as well")
	}))
	cmd.SetIn(e.streams.In)
	cmd.SetErr(e.streams.Err)
	e.addCommands(cmd)
	e.program().Prepare(cmd)
	// Flags are not known before the command's name, and one of them without a value
	// would take the command for its value.
	cmd.Flags().Bool("no-cache", false, "")
	cmd.Flags().Lookup("no-cache").Hidden = true
	return cmd
}

// Command returns the command line, for callers that document it and run nothing.
func Command() *cobra.Command {
	none := func(string) (string, bool) { return "", false }
	s := cmdline.Streams{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard, LookupEnv: none, Now: time.Now}
	return newRoot(newEnvironment(s, newUI(s)))
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
func (e *environment) addCommands(root *cobra.Command) {
	root.AddGroup(
		&cobra.Group{ID: buildCommands, Title: "Build images"},
		&cobra.Group{ID: moveCommands, Title: "Move and change images"},
		&cobra.Group{ID: lookCommands, Title: "Look into images"},
		&cobra.Group{ID: baseCommands, Title: "Base images and the cache"},
		&cobra.Group{ID: nixCommands, Title: "Nix"},
	)
	add := func(group string, commands ...*cobra.Command) {
		for _, cmd := range commands {
			cmd.GroupID = group
			root.AddCommand(cmd)
		}
	}
	add(buildCommands, newBuild(e), newStream(e), newRunStep(e), newSpec(e), newSchema(e))
	add(moveCommands, newCopy(e), newPush(e), newPull(e), newLoad(e), newIndex(e), newMerge(e), newRebase(e), newExport(e), newTree(e))
	add(lookCommands, newInspect(e), newLayers(e), newTarsum(e))
	add(baseCommands, newLock(e), newCache(e))
	add(nixCommands, newShell(e), newPrefetch(e))
	root.AddCommand(newVersion(e), newNixBuild(e), newNixRun())
}

// registerBuild adds the flags of the commands that build.
func (c *command) registerBuild(cmd *cobra.Command) {
	c.registerStore(cmd)
	c.registerVerify(cmd)
	c.registerSteps(cmd)
	c.registry.register(cmd)
	c.cache.register(cmd)
	registryGroup.Add(cmd, func(f *pflag.FlagSet) {
		f.StringArrayVar(&c.cache.from, "cache-from", nil, "take what `IMAGE`, pushed before by someone who is trusted, tells of its layers: those need not be read, compressed or sent again")
		f.BoolVar(&c.unlocked, "unlocked", false, "take what the tag of the base or previous image names now, whatever varve.lock says")
		f.BoolVar(&c.locked, "locked", false, "take the base image from the cache alone; it has to be pinned")
	})
	c.limits.register(cmd)
}

// registerRead adds the flags of the commands that read images: from a registry, too, and
// of several the one for a platform.
func (c *command) registerRead(cmd *cobra.Command) {
	c.registry.registerPlatform(cmd, "choose the image for `OS/ARCH[/VARIANT]` where there are several", "linux and this machine's architecture")
	c.registry.register(cmd)
	c.limits.register(cmd)
}

// registerCopy adds the flags of the commands that read images and write others, whose layers
// they may compress.
func (c *command) registerCopy(cmd *cobra.Command) {
	c.registerRead(cmd)
	c.cache.register(cmd)
}
