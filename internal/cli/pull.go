package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/cmdline"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/dockertools"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/internal/transfer"
)

type pullOptions struct {
	output, hash, name string
}

func newPull(e *environment) *cobra.Command {
	c := newCommand(e)
	o := &pullOptions{}
	cmd := &cobra.Command{
		Use:   "pull HOST/NAME[:TAG]@DIGEST",
		Short: "Fetch an image by digest from a registry, as nixpkgs' pullImage does",
		Long: `pull fetches an image by its digest and writes a docker-archive, byte for byte the one that
skopeo copy makes of it, so that hashes pinned for nixpkgs' pullImage hold. From an index
the image for --platform is taken.`,
		Example:           `  varve pull docker.io/library/debian@sha256:… --name debian:12 --hash sha256-…`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: c.run(func(ctx context.Context, args []string) error {
			return runPull(ctx, c, o, strings.TrimPrefix(args[0], "docker://"))
		}),
	}
	imageGroup.Add(cmd, func(f *pflag.FlagSet) {
		f.StringVar(&o.name, "name", "", "call the image `NAME:TAG` in the archive")
		cmdline.ShowDefault(f, "name", "its name, and its tag or latest")
	})
	outputGroup.Add(cmd, func(f *pflag.FlagSet) {
		f.StringVarP(&o.output, "output", "o", "", "write the archive to `FILE`")
		cmdline.ShowDefault(f, "output", "docker-image-NAME-TAG.tar")
		f.StringVar(&o.hash, "hash", "", "fail unless the hash of the archive is `HASH`: sha256- and base64")
	})
	c.registerCopy(cmd)
	return cmd
}

func runPull(ctx context.Context, c *command, o *pullOptions, ref string) error {
	if format, ok := compress.TarName(o.output); ok && format != compress.None {
		return cmdline.Usage(cmdline.Hint(fmt.Errorf("output %q: pull writes archives that are not compressed", o.output), "end it in .tar, or copy the image"))
	}
	name, _, found := strings.Cut(ref, "@")
	if !found {
		return cmdline.Usage(cmdline.Hint(fmt.Errorf("image %q is not pinned", ref), "name it by digest: "+ref+"@sha256:…"))
	}
	want, err := dockertools.ParseSRI(o.hash)
	if err != nil {
		return cmdline.Usage(fmt.Errorf("--hash %w", err))
	}
	if o.name == "" {
		o.name = name
		if _, _, err := image.SplitRepoTag(name); err != nil {
			o.name = name + ":latest"
		}
	}
	if _, _, err := image.SplitRepoTag(o.name); err != nil {
		return cmdline.Usage(fmt.Errorf("--name: %w", err))
	}
	if o.output == "" {
		o.output = "docker-image-" + strings.NewReplacer("/", "-", ":", "-").Replace(o.name) + ".tar"
	}
	existing, err := c.openOne(ctx, "docker://"+ref)
	if err != nil {
		return err
	}
	return c.dockerTools().Pull(ctx, existing.Stored, dockertools.PullOptions{Ref: ref, Name: o.name, Output: o.output, Hash: want})
}

func newPush(e *environment) *cobra.Command {
	c := newCommand(e)
	cmd := &cobra.Command{
		Use:   "push IMAGE [docker://HOST/NAME[:TAG]]",
		Short: "Write an image to a registry, sending only what the registry lacks",
		Long: `push copies an image to a registry: under those of its names that begin with a registry's
host, or under the name that is given. If that has no tag, the image's own tags are used.
IMAGE is what inspect takes.`,
		Example: `  varve push hello.tar docker://registry.example/team/hello:1.2
  varve push oci:images:hello`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: cmdline.CompleteArgs(false, c.completeImage, completeRegistry),
		RunE: c.run(func(ctx context.Context, args []string) error {
			if len(args) == 1 {
				return pushByName(ctx, c, args[0])
			}
			if !strings.HasPrefix(args[1], "docker://") {
				return cmdline.Usage(fmt.Errorf("%q is not in a registry: expected docker://HOST/NAME[:TAG]", args[1]))
			}
			return runCopy(ctx, c, args[0], args[1])
		}),
	}
	c.registerCopy(cmd)
	return cmd
}

// pushByName pushes images to where their names say.
func pushByName(ctx context.Context, c *command, ref string) error {
	found, err := c.open(ctx, ref)
	if err != nil {
		return err
	}
	var dests []transfer.Destination
	var images []image.Named
	for _, img := range found.List {
		c.places().WarnOdd(ref, img.Stored)
		for _, name := range image.NamesFor(img.Names, found.Asked).RepoTags {
			if host, _, ok := strings.Cut(name, "/"); !ok || !strings.ContainsAny(host, ".:") {
				continue
			}
			dest, err := c.copyDestination("docker://" + name)
			if err != nil {
				return err
			}
			dests, images = append(dests, dest), append(images, image.Named{Image: img.Stored})
		}
	}
	if len(dests) == 0 {
		return cmdline.Usage(cmdline.Hint(errors.New("the image's name holds no registry"), "say where it is to go: varve push "+ref+" docker://HOST/NAME:TAG"))
	}
	for i, dest := range dests {
		sent, err := c.write(ctx, dest, images[i])
		note := ""
		if i == len(dests)-1 {
			note = spared(ctx, dest)
		}
		c.tell(dest, sent, note)
		if err != nil {
			return fmt.Errorf("push %s to %q: %w", place.Quote(ref), dest.String(), err)
		}
	}
	return nil
}
