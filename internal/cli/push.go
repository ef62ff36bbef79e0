package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/cmdline"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/internal/transfer"
)

func newPush(e *environment) *cobra.Command {
	c := newCommand(e)
	cmd := &cobra.Command{
		Use:   "push IMAGE [docker://HOST/NAME[:TAG]]",
		Short: "Write an image to a registry, sending only what the registry lacks",
		Long: `push copies an image to a registry: to the destination that is given or, without one, to where
the image's own names say that it belongs. If a destination has no tag, the image's own
tags are used. IMAGE is what inspect takes.

A name says where its image belongs if it begins with a registry's host, which has a dot
or a port or is localhost: ghcr.io/acme/hello:1. Names without a host, and those in
docker.io, which layouts write in place of none, are pushed only to a destination that is
given; an image that has no other names is an error.

Standard output is HOST/NAME@sha256:…, a line for each repository.`,
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
	c.registerMetadata(cmd)
	return cmd
}

// belongs is an image, and where one of its names says that it belongs.
type belongs struct {
	image image.Named
	dest  transfer.Destination
}

// pushByName pushes images to where their names say.
func pushByName(ctx context.Context, c *command, ref string) error {
	found, err := c.open(ctx, ref)
	if err != nil {
		return err
	}
	var list []belongs
	var others []string
	for _, img := range found.List {
		c.places().WarnOdd(ref, img.Stored)
		for _, name := range image.NamesFor(img.Names, found.Asked).RepoTags {
			if !namesRegistry(name) {
				others = append(others, fmt.Sprintf("%q", place.ShortName(name)))
				continue
			}
			dest, err := c.copyDestination("docker://" + name)
			if err != nil {
				return err
			}
			list = append(list, belongs{image.Named{Image: img.Stored}, dest})
		}
	}
	if len(list) == 0 {
		return noRegistry(ref, others)
	}
	var errs []error
	for i, p := range list {
		sent, err := c.write(ctx, p.dest, p.image, c.transfers(place.Wanted{}))
		note := ""
		if i == len(list)-1 {
			note = spared(ctx, p.dest)
		}
		c.tell(p.dest, sent, note)
		if err != nil {
			errs = append(errs, fmt.Errorf("push %s to %q: %w", place.Quote(ref), p.dest.String(), err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

// namesRegistry reports whether a name says in which registry its image belongs. Layouts spell names
// without a registry as docker.io's, so that those say nothing.
func namesRegistry(name string) bool {
	host, _, ok := strings.Cut(name, "/")
	return ok && host != "docker.io" && (host == "localhost" || strings.ContainsAny(host, ".:"))
}

// noRegistry is the error for images whose names, quoted, say no registry.
func noRegistry(ref string, names []string) error {
	err := errors.New("the image has no name, which would say where it belongs")
	if len(names) > 0 {
		err = fmt.Errorf("the image is called %s, which names no registry", strings.Join(names, ", "))
	}
	return cmdline.Usage(cmdline.Hint(err, "say where it is to go: varve push "+ref+" docker://HOST/NAME:TAG, with docker.io for Docker Hub"))
}
