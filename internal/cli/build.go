package cli

import (
	"context"
	"fmt"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/assemble"
	"github.com/varve-image/varve/internal/cli/specflags"
	"github.com/varve-image/varve/internal/cmdline"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/dockertools"
	"github.com/varve-image/varve/internal/human"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/internal/transfer"
	"github.com/varve-image/varve/spec"
)

type buildOptions struct {
	spec    specflags.Flags
	outputs []string
}

func newBuild(e *environment) *cobra.Command {
	c := newCommand(e)
	o := &buildOptions{}
	cmd := &cobra.Command{
		Use:   "build [SPEC | -] [-o DEST]",
		Short: "Build an image from a spec, from flags, or from both",
		Long: `build makes the image that a spec describes, and writes it to DEST:

  FILE.tar                              an archive that every engine takes
  FILE.tar.gz, FILE.tar.zst             a docker-archive, compressed as its name says
  DIR/                                  an OCI layout
  archive:FILE[:NAME:TAG]               what FILE.tar is, with any name
  docker-archive:FILE[:NAME:TAG]        a docker-archive of any name
  oci:DIR[:NAME]                        an OCI layout, added to where it exists
  oci-archive:FILE[:NAME]               the tar of an OCI layout
  dir:DIR                               a new or empty directory, as skopeo's dir:
  docker://HOST/NAME[:TAG]              a registry, by default under the image's own tag
  docker-daemon:[NAME:TAG]              Docker
  containers-storage:[NAME:TAG]         Podman, Buildah and CRI-O
  containerd:[NAME:TAG]                 containerd
  layer:DIR                             only the last of the spec's layers, for use in
                                        the layers of other specs
  -                                     what FILE.tar is, on standard output

With several -o every DEST gets the image, with the same bytes as by itself; each layer is read
and compressed once for all. If one fails, the others are written all the same. With several
--tag, or tags in the spec, the image has a name for each.

Standard output is NAME@DIGEST of each image in a registry, a layout or an archive with one, a line
each: HOST/NAME@sha256:… for other programs, oci:DIR@sha256:… for varve.

With --platform OS/ARCH[,OS/ARCH...] the image is built for these platforms. Several
make an index, which needs FILE.tar, an OCI layout, its archive, or a registry. In the
spec's paths, ${arch}, ${os}, ${variant} and ${platform} stand for the platform.

Without -o the image becomes a docker-archive in the current directory, named after
the image. DEST appears when it is complete, or not at all.

Flags replace a spec, or override its fields: scalars and lists are replaced, while
--env, --label, --annotation, --expose and --volume add to what the spec has.`,
		Example: `  varve build image.yaml -o hello.tar
  varve build --name hello --copy ./rootfs --cmd /bin/hello -o hello.tar
  varve build image.yaml --tag 1.2 --env DEBUG=1 -o oci:images:hello
  varve build image.yaml --tag 1.2 --tag latest -o docker://ghcr.io/acme/hello -o hello.tar`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: cmdline.CompleteArgs(false, completeSpec),
		RunE:              c.run(func(ctx context.Context, args []string) error { return runBuild(ctx, c, o, args) }),
	}
	o.spec.Register(cmd, specGroups)
	c.registry.registerPlatform(cmd, "build for `OS/ARCH[/VARIANT]`, or for several, separated by commas", buildPlatform)
	outputGroup.Add(cmd, func(f *pflag.FlagSet) {
		f.StringArrayVarP(&o.outputs, "output", "o", nil, "write the image to `DEST`, as above")
		cmdline.ShowDefault(f, "output", "NAME.tar.gz")
	})
	c.registerMetadata(cmd)
	c.registerBuild(cmd)
	return cmd
}

// buildPlatform says what is built without --platform.
const buildPlatform = "the spec's, or linux and this machine's architecture"

func runBuild(ctx context.Context, c *command, o *buildOptions, args []string) error {
	in, err := c.readSpec(&o.spec, args)
	if err != nil {
		return err
	}
	platforms, err := c.registry.list()
	if err != nil {
		return err
	}
	if len(platforms) > 1 {
		return buildIndex(ctx, c, o, in, platforms)
	}
	return buildTo(ctx, c, o, in, append(platforms, v1.Platform{})[0])
}

// buildTo builds the image of a spec for a platform, which may be empty, and writes
// it where o says.
func buildTo(ctx context.Context, c *command, o *buildOptions, in *specflags.Input, p v1.Platform) error {
	s, dests, err := parseBuild(c, o, in, p)
	if err != nil {
		return err
	}
	return c.build(ctx, s, in.Lock(), dests, nil)
}

// build builds the image of a spec and writes it, or its layer, to its destinations. lock and
// more are as for buildParsed.
func (c *command) build(ctx context.Context, s *spec.Spec, lock string, dests []transfer.Destination, more func(*assemble.Options)) error {
	result, err := buildParsed(ctx, c, s, lock, more)
	if err != nil {
		return err
	}
	defer result.Close()
	several, err := transfer.NewSeveral(ctx, len(dests), c.transfers(place.Wanted{}))
	if err != nil {
		return err
	}
	defer several.Close()
	result.Image.Image = several.Image(result.Image.Image)
	c.results.made = append(c.results.made, result)
	return several.Each(ctx, dests, func(d transfer.Destination, last bool) error {
		if d.Transport == place.LayerDir {
			return c.writeLayer(ctx, d, result)
		}
		img := under(d, result.Image)
		written, err := c.write(ctx, d, img, several.Options)
		c.tell(d, written, "")
		if err != nil {
			return fmt.Errorf("write image to %q: %w", d.String(), err)
		}
		return c.summary(ctx, img, d, written[0], last)
	})
}

// writeLayer writes the last explicit layer of a spec.
func (c *command) writeLayer(ctx context.Context, d transfer.Destination, result *assemble.Result) error {
	info, err := dockertools.WriteLayer(ctx, result, d.Path)
	if err == nil {
		c.ui.Info("%s: layer %s, %s", strings.TrimSuffix(d.Path, "/"), info.DiffID, human.Size(info.Size))
	}
	return err
}

// under returns an image as a destination calls it: where that says a name, it has no other.
func under(d transfer.Destination, img image.Named) image.Named {
	if d.IsNamed() && len(img.RepoTags) > 1 {
		img.Names = image.Names{RepoTags: img.RepoTags[:1]}
	}
	return img
}

// parseBuild reads a spec for a platform, which may be empty, and says where its
// image goes.
func parseBuild(c *command, o *buildOptions, in *specflags.Input, p v1.Platform) (s *spec.Spec, dests []transfer.Destination, err error) {
	s, err = o.spec.Parse(in, hostArchitecture, p)
	if err != nil {
		return nil, nil, err
	}
	dests, err = c.destinations(s, o.outputs)
	return s, dests, err
}

// warnLeftOut warns of parts of a spec that the destination cannot hold.
func (c *command) warnLeftOut(s *spec.Spec, dest transfer.Destination) {
	if len(s.Annotations) > 0 && !dest.Transport.HasManifests() && dest.Transport != place.LayerDir {
		c.ui.Warn("annotations are left out: a docker-archive has no place for them, and engines take one; an archive (-o FILE.tar) and an OCI layout (-o DIR/) have")
	}
	if s.Compressor != "" && s.Compressor != string(compress.None) && (dest.Transport.IsEngine() || dest.Transport == place.LayerDir) {
		c.ui.Advise("compressor has no effect here: what goes to %s is not compressed", dest)
	}
}

// summary reports what was written.
func (c *command) summary(ctx context.Context, img image.Named, d transfer.Destination, written transfer.Sent, last bool) error {
	var size int64
	for i, l := range img.Layers() {
		info, err := l.Info(ctx)
		if err != nil {
			return err
		}
		c.ui.Debug("layer %d: %s, %s: %s", i+1, info.DiffID, human.Size(info.Size), l.Title())
		size += info.Size
	}
	names, err := namesAt(ctx, d, img)
	if err != nil {
		return err
	}
	note := ""
	if last {
		note = spared(ctx, d)
	}
	c.ui.Info("%s: image %s, id %s, %s in %s%s", where(d), strings.Join(names.RepoTags, ", "), written.ID,
		human.Size(size), human.Count(len(img.Layers()), "layer"), note)
	return nil
}
