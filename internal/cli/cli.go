// Package cli is varve's command line: one file for each command, with newX
// that declares it and runX that does it.
//
// Standard output carries only what was asked for; everything else goes to
// standard error. Only this package knows the environment, the clock and the
// signals, and no part of it ends the process.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/varve-image/varve/internal/flock"
	"github.com/varve-image/varve/internal/problems"
	"github.com/varve-image/varve/internal/ui"
)

// Streams is what a command works with besides its arguments.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	// LookupEnv finds a variable of the environment.
	LookupEnv func(string) (string, bool)
	// Now is the clock.
	Now func() time.Time
	// Signals end a command: the first one in order, the next at once.
	Signals <-chan os.Signal
}

// Process returns the process's own streams.
func Process() Streams {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	// A pipe that nobody reads from is an error like any other, so that what
	// has to be removed is removed.
	signal.Ignore(syscall.SIGPIPE)
	return Streams{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		LookupEnv: os.LookupEnv, Now: time.Now, Signals: signals,
	}
}

// graceTime is how long a command may take to clean up after a signal.
const graceTime = 1500 * time.Millisecond

// Main runs the command that args name and returns the exit code.
func Main(args []string, s Streams) int {
	s.beFrugal()
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	s.In = &stdin{ctx, s.In}
	g := &global{streams: s}
	ctx = flock.WithNotice(ctx, func(what string) { g.ui.Warn("waiting: %s", what) })
	root := newRoot(g)
	root.SetArgs(args)
	out := &helpWriter{w: s.Out}
	root.SetOut(out)
	done := make(chan error, 1)
	go func() {
		err := root.ExecuteContext(ctx)
		g.closers.Close()
		if err == nil {
			err = out.err
		}
		done <- err
	}()
	var err error
	select {
	case err = <-done:
	case <-s.Signals:
		cancel(errInterrupted)
		err = errInterrupted
		select {
		case ended := <-done:
			if ended == nil { // all was done when the signal came
				err = nil
			}
		case <-s.Signals:
		case <-time.After(graceTime): // something waits that cannot be woken
		}
	}
	if err == nil {
		return exitDone
	}
	g.report(err)
	return exitCode(err)
}

// helpWriter remembers the error of writing help or a completion script, which
// cobra forgets.
type helpWriter struct {
	w   io.Writer
	err error
}

func (h *helpWriter) Write(p []byte) (int, error) {
	n, err := h.w.Write(p)
	if h.err == nil && err != nil {
		h.err = fmt.Errorf("write to standard output: %w", outputError(err))
	}
	return n, err
}

// report tells the user what went wrong.
func (g *global) report(err error) {
	u := g.ui
	if u == nil {
		u, _ = ui.New(g.uiStreams(), ui.Options{})
	}
	err = problems.Annotate(err, flagsFor)
	var h *hintedError
	if errors.As(err, &h) {
		u.Error(err, h.hints...)
		return
	}
	hints, err := explain(err)
	u.Error(err, hints...)
}

// global holds the flags that every command has.
type global struct {
	streams   Streams
	ui        *ui.UI
	root      string
	storeRoot string
	// verifyStore has store paths compared with their hashes.
	verifyStore bool
	progress    string
	logFormat   string
	quiet       bool
	verbose     int
	registry    registryFlags
	cache       cacheFlags
	limits      limits
	// unlocked lets a base image be named by a tag; locked has it pinned and
	// taken from the cache alone.
	unlocked, locked bool
	// allowNetwork lets scripts use the machine's network.
	allowNetwork bool
	stepLimits   stepLimits
	// vmKernel is the kernel of virtual machines.
	vmKernel string

	// What follows changes while the command runs.
	stdin   claim
	login   login
	advised said
	closers closers
}

// said is what was said already.
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

// closers are what a command has open until its end.
type closers []io.Closer

// Close closes them all.
func (c closers) Close() {
	for _, closer := range c {
		closer.Close()
	}
}

func (g *global) uiStreams() ui.Streams {
	return ui.Streams{In: g.streams.In, Out: g.streams.Out, Err: g.streams.Err, Getenv: func(name string) string {
		value, _ := g.streams.LookupEnv(name)
		return value
	}}
}

func newRoot(g *global) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "varve",
		Short: "Build container images from files and store closures: same input, same bytes",
		Long: `varve builds container images from files, packages and Nix store closures.
Same input, same bytes; no daemon, no root, no virtual machine.

It runs on Linux and macOS. Scripts in specs, and run-step, need Linux 5.12 or later on
amd64 or arm64 with user namespaces; with isolation: vm they need QEMU and a kernel.`,
		Example: `  varve build image.yaml                                  write NAME.tar.gz
  varve build --name hello --copy ./rootfs --cmd /bin/hello -o hello.tar
  varve stream image.yaml | docker load
  varve inspect hello.tar`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       versionText(),
		Args:          knownCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(*cobra.Command, []string) (err error) {
			switch {
			case g.locked && g.unlocked:
				return usageError(errors.New("--locked and --unlocked contradict each other"))
			case g.locked && g.cache.off:
				return usageError(errors.New("--locked takes the base image from the cache, which --no-cache leaves out"))
			}
			if err := errors.Join(g.limits.check(), g.stepLimits.check()); err != nil {
				return err
			}
			g.ui, err = ui.New(g.uiStreams(), ui.Options{
				Progress: g.progress, LogFormat: g.logFormat, Quiet: g.quiet, Verbose: g.verbose, Now: g.streams.Now,
			})
			return usageError(err)
		},
	}
	f := cmd.PersistentFlags()
	f.StringVar(&g.root, "root", "", "`directory` put before absolute store and input paths to find the files")
	f.StringVar(&g.storeRoot, "store-root", "", "`directory` that the store is looked for in instead, with Nix's state of it")
	f.StringVar(&g.cache.dir, "cache", "", "`directory` of what was fetched from registries (default $XDG_CACHE_HOME/varve)")
	f.BoolVar(&g.cache.off, "no-cache", false, "neither use nor fill it")
	g.limits.register(f)
	f.StringVar(&g.progress, "progress", "auto", "auto, plain, json or none")
	f.StringVar(&g.logFormat, "log-format", "text", "text or json")
	f.BoolVarP(&g.quiet, "quiet", "q", false, "only errors, and what is left out or refused")
	f.CountVarP(&g.verbose, "verbose", "v", "tell what is found and done on the way")
	cmd.SetFlagErrorFunc(flagError)
	cmd.SetIn(g.streams.In)
	cmd.SetErr(g.streams.Err)
	g.addCommands(cmd)
	cmd.SetHelpCommand(newHelp())
	cmd.InitDefaultCompletionCmd()
	for _, c := range cmd.Commands() {
		strict(c)
	}
	return cmd
}

// addCommands gives the program its commands: those that speak to registries
// with the flags for that, those that build with the ones for base images.
func (g *global) addCommands(root *cobra.Command) {
	builds := []*cobra.Command{newBuild(g), newStream(g), newLayers(g)}
	for _, c := range builds {
		c.Flags().BoolVar(&g.unlocked, "unlocked", false, "take what the base image's tag names now, whatever varve.lock says")
		c.Flags().BoolVar(&g.locked, "locked", false, "take the base image from the cache alone; it has to be pinned")
	}
	runStep := newRunStep(g)
	for _, c := range append(slices.Clone(builds), runStep) {
		c.Flags().BoolVar(&g.allowNetwork, "allow-network", false, "let scripts use this machine's network where the spec asks for it")
		g.stepLimits.register(c.Flags())
		c.Flags().StringVar(&g.vmKernel, "vm-kernel", "", "kernel `file` for scripts with isolation: vm (default: the newest in /boot)")
	}
	remote := []*cobra.Command{
		runStep, newInspect(g), newCopy(g), newPull(g), newPush(g),
		newMerge(g), newExport(g), newLock(g), newIndex(g), newShell(g),
		newPrefetch(g), newRebase(g), newLoad(g),
	}
	for _, c := range slices.Concat(builds, remote) {
		g.registry.register(c.Flags())
		root.AddCommand(c)
	}
	root.AddCommand(newTree(g), newCache(g), newTarsum(g), newSchema(g), newVersion(g), newNixBuild(g), newNixRun())
}

// strict has wrong arguments of a command, and of those below it, count as
// usage errors.
func strict(cmd *cobra.Command) {
	cmd.Args = usageArgs(cmd.Args)
	if !cmd.Runnable() { // or cobra would take any word, and do nothing
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	for _, c := range cmd.Commands() {
		strict(c)
	}
}
