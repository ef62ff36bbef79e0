package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/varve-image/varve/internal/assemble"
	"github.com/varve-image/varve/internal/cli/specflags"
	"github.com/varve-image/varve/internal/cmdline"
	"github.com/varve-image/varve/internal/regfile"
	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/internal/treefile"
	"github.com/varve-image/varve/internal/ui"
	"github.com/varve-image/varve/spec"
	"github.com/varve-image/varve/tree"
)

type runStepOptions struct {
	spec        specflags.Flags
	as          string
	script      string
	binds       []string
	env         []string
	workdir     string
	output      string
	interactive bool
}

// stepFields are the fields of a spec that a step can be run as.
var stepFields = []string{"runAsRoot", "extraCommands", "fakeRootCommands"}

func newRunStep(e *environment) *cobra.Command {
	c := newCommand(e)
	o := &runStepOptions{}
	cmd := &cobra.Command{
		Use:   "run-step IMAGE|DIR [-- PROGRAM ARG...]",
		Short: "Try a script on an image or a directory, and see what it changes",
		Long: `run-step runs a script or a program in an image or a directory, as the fields of a spec
do, and prints what it changed: A for added, C for changed and D for deleted, with type,
mode, owner and size. The image or directory itself stays as it is; -o writes the changes
as the tar of a layer. What the step writes goes to standard error.

--as says which field of a spec it is run as:

  runAsRoot          in the image, as root (the default)
  extraCommands      in the tree, with this machine's programs, as an ordinary user
  fakeRootCommands   the same as root; with --enable-fakechroot in the tree alone

It needs Linux 5.12 or later on amd64 or arm64, with user namespaces for this user. With
--isolation vm it also needs QEMU and a kernel, on amd64.

Without a script or a program the shell reads standard input; --interactive gives it the
terminal.`,
		Example: `  varve run-step debian.tar -- groupadd --system app
  varve run-step ./rootfs --as fakeRootCommands --script 'chown -R 33:33 srv'
  varve run-step -i docker-daemon:debian:12`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: cmdline.CompleteArgs(false, c.completeImage),
	}
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		if at := cmd.ArgsLenAtDash(); len(args) > 1 && at != 1 {
			return cmdline.Usage(errors.New("expected one image or directory, then -- and the program"))
		}
		if o.interactive && !cmd.Flags().Changed("max-step-time") {
			c.stepLimits.time = 0
		}
		return runRunStep(ctx, c, o, args[0], args[1:])
	})
	scriptGroup.Add(cmd, func(f *pflag.FlagSet) {
		f.StringVar(&o.script, "script", "", "`SCRIPT`: shell text to run")
		f.StringVar(&o.as, "as", stepFields[0], "`FIELD`: field of a spec that the step is run as")
		cmdline.Choose(f, "as", stepFields)
		f.StringArrayVar(&o.env, "env", nil, "`NAME=VALUE`: environment variable of the step")
		f.StringVar(&o.workdir, "workdir", "", "`DIR`: directory that the step starts in")
		f.StringArrayVar(&o.binds, "bind", nil, "show a file or directory of this machine, read-only, as `SRC:DST`")
		f.BoolVarP(&o.interactive, "interactive", "i", false, "give the step the terminal")
	})
	outputGroup.Add(cmd, func(f *pflag.FlagSet) {
		f.StringVarP(&o.output, "output", "o", "", "write the changes to `FILE` as the tar of a layer, compressed as its name says; - is standard output")
	})
	o.spec.Register(cmd, specGroups, "shell", "path", "enable-fakechroot", "isolation", "network", "disk-size", "build-vm-memory-size", "store-dir", "mtime", "tree-mtime")
	c.registerStore(cmd)
	c.registerSteps(cmd)
	c.registerRead(cmd)
	return cmd
}

func runRunStep(ctx context.Context, c *command, o *runStepOptions, ref string, argv []string) error {
	s, err := o.parse(c, argv)
	if err != nil {
		return err
	}
	var dest *treefile.Output
	if o.output != "" {
		if dest, err = c.archiveOutput(o.output); err != nil {
			return err
		}
	}
	entries, closer, err := c.openTree(ctx, ref)
	if err != nil {
		return err
	}
	defer closer.Close()
	step, err := o.describe(c, s, entries, argv)
	if err != nil {
		return err
	}
	res, err := o.run(ctx, c, s, step)
	if err != nil {
		return err
	}
	defer res.Close()
	if o.output == "" {
		if err := sandbox.WriteChanges(c.streams.Out, step.Tree, res.Changes); err != nil {
			return fmt.Errorf("write to standard output: %w", cmdline.OutputError(err))
		}
		return nil
	}
	for _, e := range res.Changes {
		e.ModTime = s.TreeMTime
	}
	_, err = dest.Write(ctx, res.Changes, tree.WriteOptions{})
	return err
}

// parse reads the flags that stand for fields of a spec.
func (o *runStepOptions) parse(c *command, argv []string) (*spec.Spec, error) {
	if len(argv) > 0 && o.script != "" {
		return nil, cmdline.Usage(errors.New("a program and --script exclude each other: give one of them"))
	}
	o.spec.Settings = append(o.spec.Settings, spec.Setting{Field: "name", Values: []string{"run-step"}})
	p, err := c.onePlatform()
	if err != nil {
		return nil, err
	}
	return o.spec.Parse(&specflags.Input{}, hostArchitecture, p)
}

// describe makes a step from the flags.
func (o *runStepOptions) describe(c *command, s *spec.Spec, entries []*tree.Entry, argv []string) (*sandbox.Step, error) {
	step := &sandbox.Step{Name: o.as, Tree: entries, Dir: o.workdir, Argv: argv, Script: o.script, Env: o.env, Stdin: c.stdin.In}
	switch o.as {
	case "runAsRoot":
		step.Root, step.FakeRoot = sandbox.ImageRoot, true
	case "fakeRootCommands":
		step.Root, step.FakeRoot = sandbox.HostTools, true
		if s.EnableFakechroot {
			step.Root = sandbox.ImageRoot
		}
	case "extraCommands":
		step.Root = sandbox.HostTools
	default:
		return nil, cmdline.Usage(fmt.Errorf("--as %q: choose %s", o.as, cmdline.Alternatives(stepFields)))
	}
	for _, bind := range o.binds {
		source, target, ok := strings.Cut(bind, ":")
		absolute, err := filepath.Abs(source)
		if !ok || err != nil || !path.IsAbs(target) {
			return nil, cmdline.Usage(fmt.Errorf("--bind %q: expected SRC:DST, DST absolute", bind))
		}
		if _, err := os.Stat(absolute); err != nil {
			return nil, cmdline.FileUsage(fmt.Errorf("--bind %q: %q: %w", bind, absolute, regfile.Cause(err)))
		}
		step.Binds = append(step.Binds, sandbox.Bind{Source: absolute, Target: target})
	}
	return step, assemble.CompleteStep(step, s, assemble.Options{Root: c.root, StoreRoot: c.storeRoot, Steps: c.steps()})
}

// run runs the step on the terminal, or with its output as lines on standard error.
func (o *runStepOptions) run(ctx context.Context, c *command, s *spec.Spec, step *sandbox.Step) (*sandbox.Result, error) {
	runner, err := c.runner(s.Isolation)
	if err != nil {
		return nil, err
	}
	if !o.interactive {
		out := c.steps().Output(step.Name)
		defer out.Close()
		step.Stdout, step.Stderr = out, out
		return sandbox.Run(ctx, runner, step)
	}
	terminal, err := ui.NewRawTerminal(ctx, c.streams.Err)
	if err != nil {
		return nil, cmdline.Usage(fmt.Errorf("--interactive: %w", err))
	}
	defer func() { _ = terminal.Restore() }() // a terminal that is gone needs no restoring
	resize := make(chan sandbox.TerminalSize, 1)
	go func() {
		for size := range terminal.Resized() {
			select {
			case resize <- sandbox.TerminalSize(size):
			case <-ctx.Done():
			}
		}
	}()
	step.Terminal = &sandbox.Terminal{Size: sandbox.TerminalSize(terminal.Size()), Resize: resize}
	step.Stdout = c.streams.Err // standard output is for the list of changes
	return sandbox.Run(ctx, runner, step)
}

// openTree opens the file system of an image, or a directory that is not a layout.
func (c *command) openTree(ctx context.Context, ref string) ([]*tree.Entry, io.Closer, error) {
	if st, err := os.Stat(ref); err == nil && st.IsDir() {
		if _, err := os.Lstat(filepath.Join(ref, "oci-layout")); errors.Is(err, os.ErrNotExist) {
			return treefile.Read(ctx, ref, c.places().TarOptions())
		}
	}
	found, err := c.openOne(ctx, ref)
	if err != nil {
		return nil, nil, err
	}
	overlay, err := found.Files(ctx, c.places().OverlayOptions())
	if err != nil {
		return nil, nil, err
	}
	if err := overlay.Spool(ctx); err != nil {
		overlay.Close()
		return nil, nil, err
	}
	return overlay.Entries, overlay, nil
}
