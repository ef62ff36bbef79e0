package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/varve-image/varve/internal/cmdline"
	"github.com/varve-image/varve/internal/human"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/internal/transfer"
)

func newCopy(e *environment) *cobra.Command {
	c := newCommand(e)
	var all bool
	cmd := &cobra.Command{
		Use:   "copy SRC DEST",
		Short: "Copy images from one place to another",
		Long: `copy reads an image and writes it elsewhere, checking its digests on the way. Layers that
are sent as they are stored must also unpack to what the config says. SRC is what inspect
takes, DEST what build takes. An OCI layout gets the layers as they are stored, and the
manifest as well if it is an OCI manifest of the same layers.

An image keeps all of its names, or only the one in SRC; it may have none. A name that
only a layout can hold, such as a bare tag, is kept in layouts and registries. If an
archive or layout holds several images, all are copied. A DEST with a name, such as the
tag in docker://HOST/NAME:TAG, takes one image, which then gets this name.

From an index, the image for --platform is copied. With --all the whole index is copied,
with all of its images: between registries byte for byte, with everything else it lists.`,
		Example: `  varve copy hello.tar oci:images:hello
  varve copy oci:images:hello docker-archive:hello.tar:hello:1.2
  varve copy saved.tar docker-daemon:
  varve copy --all docker://debian:12 docker://registry.example/debian:12`,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: cmdline.CompleteArgs(false, c.completeImage, c.completeImage),
		RunE: c.run(func(ctx context.Context, args []string) error {
			if all {
				return runCopyAll(ctx, c, args[0], args[1])
			}
			return runCopy(ctx, c, args[0], args[1])
		}),
	}
	imageGroup.Add(cmd, func(f *pflag.FlagSet) {
		f.BoolVar(&all, "all", false, "copy an index with the images for all platforms")
	})
	c.registerCopy(cmd)
	c.registerMetadata(cmd)
	return cmd
}

func runCopy(ctx context.Context, c *command, src, dst string) error {
	return c.copyImages(ctx, src, dst, transfer.Copy)
}

// runCopyAll copies an index with all its images.
func runCopyAll(ctx context.Context, c *command, src, dst string) error {
	if c.registry.platform != "" {
		return cmdline.Usage(errors.New("--all copies the images for all platforms, --platform chooses one"))
	}
	return c.copyImages(ctx, src, dst, transfer.CopyAll)
}

// copier is transfer.Copy or transfer.CopyAll.
type copier func(ctx context.Context, ref string, d transfer.Destination, opts transfer.Options) ([]transfer.Sent, error)

// copyImages copies images, and reports what the destination has then.
func (c *command) copyImages(ctx context.Context, src, dst string, how copier) error {
	dest, err := c.copyDestination(dst)
	if err != nil {
		return err
	}
	want, err := c.registry.wanted()
	if err != nil {
		return err
	}
	sent, err := how(ctx, src, dest, c.transfers(want))
	note := spared(ctx, dest)
	c.tell(dest, sent, note)
	if err != nil || dest.Transport == place.Registry || dest.Transport.IsEngine() { // it was reported already
		return err
	}
	for i, s := range sent {
		if len(s.Platforms) > 0 {
			continue
		}
		text := fmt.Sprintf("%s: image %s, id %s, %s", where(dest), calledOr(s.Names, "without a name"), s.ID, human.Count(s.Layers, "layer"))
		if i == len(sent)-1 {
			text += note
		}
		c.ui.Info("%s", text)
	}
	return nil
}
