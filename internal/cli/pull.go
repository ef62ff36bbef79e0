package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/cmdline"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/dockertools"
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
