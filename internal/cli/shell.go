package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/varve-image/varve/internal/assemble"
	"github.com/varve-image/varve/internal/base/lockfile"
	"github.com/varve-image/varve/internal/cli/specflags"
	"github.com/varve-image/varve/internal/cmdline"
	"github.com/varve-image/varve/internal/dockertools"
	"github.com/varve-image/varve/spec"
)

type shellOptions struct {
	spec   specflags.Flags
	output string
	shell  dockertools.ShellOptions
}

func newShell(e *environment) *cobra.Command {
	c := newCommand(e)
	o := &shellOptions{}
	cmd := &cobra.Command{
		Use:   "shell DRV [-o DEST]",
		Short: "Build an image of a derivation's build environment, as nix-shell has it",
		Long: `shell makes an image that does for a derivation what nix-shell does: it has the
derivation's environment and inputs, and a shell that they set up, as nixpkgs'
streamNixShellImage has. In a container of the image, "buildDerivation" builds the
derivation's outputs at their store paths.

DRV is a .drv file whose inputs are in the store. The shell is a bash: by default the
derivation's builder, if that is one. DEST is as for build.`,
		Example: `  varve shell $(nix-instantiate shell.nix) -o docker-daemon:
  varve shell hello.drv --run 'buildDerivation && $out/bin/hello' -o hello-env.tar`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cmdline.CompleteArgs(false, cmdline.CompleteFiles),
		RunE:              c.run(func(ctx context.Context, args []string) error { return runShell(ctx, c, o, args[0]) }),
	}
	o.spec.Register(cmd, specGroups, "name", "tag", "closure", "store-dir", "include-nix-db", "max-layers", "copy", "conflicts", "env", "label",
		"annotation", "architecture", "created", "mtime", "tree-mtime", "compressor")
	imageGroup.Add(cmd, func(f *pflag.FlagSet) {
		f.Uint32Var(&o.shell.UID, "uid", 1000, "`ID`: user that the image runs as")
		f.Uint32Var(&o.shell.GID, "gid", 1000, "`ID`: group that the image runs as")
		f.StringVar(&o.shell.Home, "home", "", "`DIR`: home of the user that the image runs as")
		cmdline.ShowDefault(f, "home", "/build")
		f.StringVar(&o.shell.CACertificates, "ca-certificates", "", "`FILE`: certificates that SSL_CERT_FILE names in the image")
	})
	scriptGroup.Add(cmd, func(f *pflag.FlagSet) {
		f.StringVar(&o.shell.Shell, "shell", "", "`PROGRAM`: bash of the image, in the store")
		cmdline.ShowDefault(f, "shell", "the derivation's builder")
		f.StringVar(&o.shell.Coreutils, "coreutils", "", "`PATH`: store path whose bin/env becomes /usr/bin/env")
		f.StringVar(&o.shell.Command, "command", "", "`SCRIPT`: shell text that an interactive shell runs before it ends")
		f.StringVar(&o.shell.Run, "run", "", "`SCRIPT`: shell text that a shell runs that is not interactive")
	})
	outputGroup.Add(cmd, func(f *pflag.FlagSet) {
		f.StringVarP(&o.output, "output", "o", "", "write the image to `DEST`, as for build")
		cmdline.ShowDefault(f, "output", "NAME.tar.gz")
	})
	c.registerStore(cmd)
	c.registry.register(cmd)
	c.limits.register(cmd)
	return cmd
}

func runShell(ctx context.Context, c *command, o *shellOptions, name string) error {
	if o.shell.Command != "" && o.shell.Run != "" {
		return cmdline.Usage(errors.New("--command is for an interactive shell, --run for one that is not: give one of them"))
	}
	o.shell.Root, o.shell.StoreRoot = c.root, c.storeRoot
	o.shell.Spec = spec.Options{Settings: o.spec.Settings, Architecture: hostArchitecture}
	made, err := dockertools.NixShell(ctx, name, o.shell)
	if err != nil {
		return err
	}
	dests, err := c.destinations(made.Spec, []string{o.output})
	if err != nil {
		return err
	}
	return c.build(ctx, made.Spec, lockfile.Name, dests, func(opts *assemble.Options) {
		opts.Files, opts.Absent, opts.NoWarnings = made.Files, made.Absent, true
	})
}
