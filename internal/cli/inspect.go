package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/varve-image/varve/image/inspect"
	"github.com/varve-image/varve/internal/cmdline"
	"github.com/varve-image/varve/internal/place"
)

func newInspect(e *environment) *cobra.Command {
	c := newCommand(e)
	var asJSON, raw bool
	cmd := &cobra.Command{
		Use:   "inspect IMAGE",
		Short: "Show an image's config, its layers and what is in them, and its history",
		Long: `inspect reads an image to its last byte, checks its digests, and shows its config, its
layers with what is in them, and its history. IMAGE is

  PATH                              an archive of any kind, or an OCI layout
  docker-archive:PATH[:NAME:TAG]    one image of a docker-archive
  oci:DIR[:NAME], oci-archive:PATH[:NAME], dir:DIR
  docker://HOST/NAME:TAG, docker://HOST/NAME@DIGEST
  docker-daemon:NAME:TAG, containers-storage:NAME:TAG, containerd:NAME:TAG
  -                                 an archive on standard input

NAME is a name that the image has there. @N, the number of an image counted from 0,
@DIGEST and NAME@DIGEST, as in oci:DIR@sha256:…, work as well. If several images have
the name, the first one for --platform is meant, as in an index. Without a name, all
images are shown.

With --raw the output is what IMAGE names, byte for byte: the index, the manifest, or a
docker-archive's manifest.json. If --platform is given, it is that platform's manifest.`,
		Example: `  varve inspect hello.tar
  varve inspect --json oci:images:hello | jq '.[0].layers[].size'`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cmdline.CompleteArgs(false, c.completeImage),
		RunE: c.run(func(ctx context.Context, args []string) error {
			switch {
			case asJSON && raw:
				return cmdline.Usage(errors.New("--json and --raw exclude each other"))
			case raw:
				return runInspectRaw(ctx, c, args[0])
			}
			return runInspect(ctx, c, args[0], asJSON)
		}),
	}
	outputGroup.Add(cmd, func(f *pflag.FlagSet) {
		f.BoolVar(&asJSON, "json", false, "print a JSON list with an object for each image")
		f.BoolVar(&raw, "raw", false, "print the index or manifest as it is stored")
	})
	c.registerRead(cmd)
	return cmd
}

func runInspect(ctx context.Context, c *command, ref string, asJSON bool) error {
	found, err := c.open(ctx, ref)
	if err != nil {
		return err
	}
	images := make([]*inspect.Image, len(found.List))
	for i, img := range found.List {
		if images[i], err = inspect.Read(ctx, img.Stored, img.Names); err != nil {
			return fmt.Errorf("inspect %s: %w", place.Quote(ref), err)
		}
	}
	if asJSON {
		return c.streams.PrintJSON(inspect.JSON(images))
	}
	texts := make([]string, len(images))
	for i, img := range images {
		texts[i] = img.Text()
	}
	return c.streams.Print(strings.Join(texts, "\n"))
}

// runInspectRaw prints the document that a reference names, as it is stored.
func runInspectRaw(ctx context.Context, c *command, ref string) error {
	if c.registry.platform != "" {
		img, err := c.openOne(ctx, ref)
		if err != nil {
			return err
		}
		if len(img.Manifest) > 0 {
			return c.streams.Print(string(img.Manifest))
		}
		return c.streams.Print(string(img.Raw))
	}
	found, err := c.keep(place.OpenPlatforms(ctx, ref, c.places()))
	if err != nil {
		return err
	}
	raw, err := found.Document(ref)
	if err != nil {
		return err
	}
	if len(raw) == 0 {
		return fmt.Errorf("%s has no manifest", place.Quote(ref))
	}
	return c.streams.Print(string(raw))
}
