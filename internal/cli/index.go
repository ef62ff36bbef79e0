package cli

import (
	"context"
	"errors"
	"fmt"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/assemble"
	"github.com/varve-image/varve/internal/cli/specflags"
	"github.com/varve-image/varve/internal/cmdline"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/internal/transfer"
)

type indexOptions struct {
	output, name string
	annotations  []string
}

func newIndex(e *environment) *cobra.Command {
	c := newCommand(e)
	o := &indexOptions{}
	cmd := &cobra.Command{
		Use:   "index IMAGE... -o DEST",
		Short: "Make one image for several platforms out of an image for each",
		Long: `index writes the images to one place, with an index that lists them: every machine then
takes the image for its own platform. IMAGE is what inspect takes. If it is an index
itself, all of its images are taken, or those for --platform. No two images may be for
the same platform. DEST is an OCI layout (DIR/ or oci:DIR[:NAME]), its archive
(oci-archive:FILE[:NAME]), an archive for every engine (FILE.tar or archive:FILE[:NAME:TAG]),
dir:DIR, a registry (docker://HOST/NAME[:TAG]), or an engine that keeps manifests
(docker-daemon:[NAME:TAG], containerd:[NAME:TAG]).`,
		Example: `  varve index hello-amd64.tar hello-arm64.tar -o docker://registry.example/hello:1
  varve index docker://debian:12 -o oci:debian:12 --platform linux/amd64,linux/arm64`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: cmdline.CompleteArgs(true, c.completeImage),
		RunE:              c.run(func(ctx context.Context, args []string) error { return runIndex(ctx, c, o, args) }),
	}
	imageGroup.Add(cmd, func(f *pflag.FlagSet) {
		f.StringVar(&o.name, "name", "", "call the index `NAME:TAG` in an OCI layout")
		cmdline.ShowDefault(f, "name", "what all of the images are called")
		f.StringArrayVar(&o.annotations, "annotation", nil, "`KEY=VALUE`: annotation of the index")
	})
	c.registry.registerPlatform(cmd, "take only the images for `OS/ARCH[/VARIANT]`, or for several, separated by commas", "")
	outputGroup.Add(cmd, func(f *pflag.FlagSet) {
		f.StringVarP(&o.output, "output", "o", "", "write the index to `DEST`, as above")
	})
	c.registerMetadata(cmd)
	c.registry.register(cmd)
	c.cache.register(cmd)
	c.limits.register(cmd)
	return cmd
}

func runIndex(ctx context.Context, c *command, o *indexOptions, refs []string) error {
	if o.output == "" {
		return cmdline.Usage(cmdline.Hint(errors.New("no output"), "name an archive, an OCI layout or a registry with -o"))
	}
	dest, err := c.copyDestination(o.output)
	if err != nil {
		return err
	}
	if err := dest.CheckIndex(); err != nil {
		return err
	}
	x := transfer.IndexOptions{Name: o.name}
	if x.Annotations, err = cmdline.ParsePairs("--annotation", o.annotations); err != nil {
		return err
	}
	if x.Platforms, err = c.registry.list(); err != nil {
		return err
	}
	if o.name != "" {
		if _, _, err := image.SplitRepoTag(o.name); err != nil {
			return cmdline.Usage(fmt.Errorf("--name: %w", err))
		}
	}
	sent, err := transfer.Index(ctx, refs, dest, x, c.transfers(place.Wanted{}))
	if err != nil {
		return err
	}
	c.tell(dest, []transfer.Sent{sent}, spared(ctx, dest))
	return nil
}

// buildIndex makes the images of a spec for several platforms and an index of
// them.
func buildIndex(ctx context.Context, c *command, o *buildOptions, in *specflags.Input, platforms []v1.Platform) error {
	x := &image.Index{}
	var dests []transfer.Destination
	for i, p := range platforms {
		s, d, err := parseBuild(c, o, in, p)
		if err != nil {
			return err
		}
		if i == 0 {
			if err := checkIndex(d); err != nil {
				return err
			}
			dests = d
		}
		result, err := buildParsed(ctx, c, s, in.Lock(), nil)
		if err != nil {
			return fmt.Errorf("platform %s: %w", ocijson.PlatformText(&p), err)
		}
		c.closers = append(c.closers, result)
		c.results.made = append(c.results.made, result)
		x.Images, x.Names = append(x.Images, result.Image.Image), result.Image.Names
		if x.Annotations == nil {
			x.Annotations = assemble.Annotations(s)
		}
	}
	return c.writeIndex(ctx, dests, x)
}

// checkIndex refuses destinations that can hold an image for one platform only.
func checkIndex(dests []transfer.Destination) error {
	var errs []error
	for _, d := range dests {
		errs = append(errs, d.CheckIndex())
	}
	return errors.Join(errs...)
}

// writeIndex writes an index that was built to its destinations.
func (c *command) writeIndex(ctx context.Context, dests []transfer.Destination, x *image.Index) error {
	several, err := transfer.NewSeveral(ctx, len(dests), c.transfers(place.Wanted{}))
	if err != nil {
		return err
	}
	defer several.Close()
	for i, img := range x.Images {
		x.Images[i] = several.Image(img)
		c.results.made[i].Image.Image = x.Images[i]
	}
	return several.Each(ctx, dests, func(d transfer.Destination, last bool) error {
		own := *x
		own.Names = under(d, image.Named{Names: x.Names}).Names
		sent, err := transfer.WriteIndex(ctx, d, &own, several.Options)
		if err != nil {
			return err
		}
		note := ""
		if last {
			note = spared(ctx, d)
		}
		c.tell(d, []transfer.Sent{sent}, note)
		return nil
	})
}
