package cli

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/cli/specflags"
	"github.com/varve-image/varve/internal/cmdline"
	"github.com/varve-image/varve/internal/dockertools"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/internal/place/dockerarchive"
	"github.com/varve-image/varve/internal/tally"
	"github.com/varve-image/varve/internal/ui"
)

type streamOptions struct {
	spec    specflags.Flags
	repoTag string
}

func newStream(e *environment) *cobra.Command {
	c := newCommand(e)
	o := &streamOptions{}
	cmd := &cobra.Command{
		Use:   "stream [SPEC | CONF.json | -]",
		Short: "Write an image as an archive to standard output",
		Long: `stream writes an image to standard output, as an archive that every engine takes, or as a
compressed docker-archive if a compressor is given.

It takes a spec, or the conf.json that nixpkgs' streamLayeredImage makes for its own
streamer, and then writes the same bytes as that. "-" is standard input.`,
		Example: `  varve stream image.yaml | docker load
  varve stream conf.json --repo_tag registry.example/app:2 | podman load`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: cmdline.CompleteArgs(false, completeSpec),
		RunE:              c.run(func(ctx context.Context, args []string) error { return runStream(ctx, c, o, args) }),
	}
	o.spec.Register(cmd, specGroups)
	imageGroup.Add(cmd, func(f *pflag.FlagSet) {
		f.StringVarP(&o.repoTag, "repo_tag", "t", "", "call the image `NAME:TAG`, instead of what conf.json or the spec says")
	})
	c.registry.registerPlatform(cmd, "build for `OS/ARCH[/VARIANT]`", buildPlatform)
	c.registerBuild(cmd)
	return cmd
}

func runStream(ctx context.Context, c *command, o *streamOptions, args []string) error {
	if f, ok := c.streams.Out.(*os.File); ok && ui.IsTerminal(f) {
		return cmdline.Usage(cmdline.Hint(fmt.Errorf("an archive is not written to a terminal"),
			"send it to a program (varve stream … | docker load) or a file (varve build … -o FILE.tar)"))
	}
	in, err := c.readSpec(&o.spec, args)
	if err != nil {
		return err
	}
	if dockertools.IsConf(in.Data) {
		return streamConf(ctx, c, o, in)
	}
	if o.repoTag != "" {
		if err := o.spec.SetRepoTag(o.repoTag); err != nil {
			return err
		}
	}
	s, err := c.parseOne(&o.spec, in)
	if err != nil {
		return err
	}
	dest, err := buildDestination("-", s)
	if err != nil {
		return err
	}
	c.warnLeftOut(s, dest)
	result, err := buildParsed(ctx, c, s, in.Lock(), nil)
	if err != nil {
		return err
	}
	defer result.Close()
	places := c.places()
	places.Stdout = c.streams.Out // which may be a file
	target, err := place.To(ctx, dest.Ref, place.TargetOptions{Options: places, Compression: dest.Compression})
	if err != nil {
		return err
	}
	return streaming(ctx, c, result.Image, func(observe func(image.Event)) error {
		_, err := target.Write(ctx, []image.Named{result.Image}, observe)
		return err
	})
}

// streamConf does what nixpkgs' streamer does.
func streamConf(ctx context.Context, c *command, o *streamOptions, in *specflags.Input) error {
	if len(o.spec.Settings) > 0 {
		return cmdline.Usage(cmdline.Hint(fmt.Errorf("%s is a conf.json, which %s cannot change", in.Name, o.spec.Settings[0].Flag),
			"only --repo_tag goes with a conf.json; make the change where nixpkgs makes it"))
	}
	if c.verifyStore {
		return cmdline.Usage(fmt.Errorf("%s is a conf.json, which has no hashes of store paths that --verify-store could compare with", in.Name))
	}
	img, err := c.dockerTools().Conf(ctx, in.Name, in.Data, o.repoTag)
	if err != nil {
		return err
	}
	return streaming(ctx, c, img, func(observe func(image.Event)) error {
		return dockerarchive.Write(ctx, c.streams.Out, img, dockerarchive.Options{RepeatLayers: true, TempDir: c.tempDir(), Observe: observe})
	})
}

// streaming shows the layers of an image that write writes to standard output.
func streaming(ctx context.Context, c *command, img image.Named, write func(observe func(image.Event)) error) error {
	task := c.ui.Progress(ctx, len(img.Layers()), "streaming")
	defer task.Finish()
	return cmdline.OutputError(write(observe(task)))
}

// observe shows the layers of an image that is being written.
func observe(task *ui.Task) func(image.Event) {
	return func(e image.Event) {
		if e.Done {
			task.Done(e.Layer, e.Size, tally.Work(e.Work))
		} else {
			task.Start(e.Layer, e.Title)
		}
	}
}
