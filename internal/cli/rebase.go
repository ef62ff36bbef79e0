package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/varve-image/varve/internal/cmdline"
	"github.com/varve-image/varve/internal/human"
	"github.com/varve-image/varve/internal/transfer"
)

type rebaseOptions struct {
	bases  transfer.Bases
	output string
}

func newRebase(e *environment) *cobra.Command {
	c := newCommand(e)
	o := &rebaseOptions{}
	cmd := &cobra.Command{
		Use:   "rebase IMAGE --new-base IMAGE -o DEST",
		Short: "Put the layers that an image adds to its base onto another base",
		Long: `rebase separates an image from its old base and puts the layers that it adds, as they are,
onto a new base, such as the same one with security fixes. Nothing is built. What the
image's config has from the old base is taken from the new one instead; what the image
set itself stays. The image must begin with the old base's layers.

Without --old-base the old base is the one that the image's manifest names
(org.opencontainers.image.base.name and .digest, which varve build writes). Without
--new-base the new base is what that name stands for now. DEST is what copy takes.

The layers are not looked into: one that replaces a file of the old base, or goes through
its symlinks, does the same to the new one.`,
		Example: `  varve rebase docker://registry.example/app:1 -o docker://registry.example/app:1.1
  varve rebase app.tar --old-base debian-12.1.tar --new-base debian-12.2.tar -o new.tar`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cmdline.CompleteArgs(false, c.completeImage),
		RunE:              c.run(func(ctx context.Context, args []string) error { return runRebase(ctx, c, o, args[0]) }),
	}
	imageGroup.Add(cmd, func(f *pflag.FlagSet) {
		f.StringVar(&o.bases.Old, "old-base", "", "`IMAGE`: the base that the image is built on")
		cmdline.ShowDefault(f, "old-base", "what its annotations say")
		f.StringVar(&o.bases.New, "new-base", "", "`IMAGE`: the base to put it on")
		cmdline.ShowDefault(f, "new-base", "what the old base's name stands for now")
	})
	outputGroup.Add(cmd, func(f *pflag.FlagSet) {
		f.StringVarP(&o.output, "output", "o", "", "write the image to `DEST`, as for copy")
	})
	c.registerCopy(cmd)
	c.registerMetadata(cmd)
	return cmd
}

func runRebase(ctx context.Context, c *command, o *rebaseOptions, ref string) error {
	if o.output == "" {
		return cmdline.Usage(cmdline.Hint(errors.New("no output"), "say with -o where the image is to go"))
	}
	dest, err := c.copyDestination(o.output)
	if err != nil {
		return err
	}
	want, err := c.registry.wanted()
	if err != nil {
		return err
	}
	done, err := transfer.Rebase(ctx, ref, o.bases, dest, c.transfers(want))
	if err != nil {
		return err
	}
	c.tell(dest, []transfer.Sent{done.Sent}, "")
	c.ui.Info("%s: %s of the old base replaced by %s of the new one, %s kept%s", dest,
		human.Count(done.Old, "layer"), human.Count(done.New, "layer"), human.Count(done.Kept, "layer"), spared(ctx, dest))
	return nil
}
