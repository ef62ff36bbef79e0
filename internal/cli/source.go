package cli

import (
	"context"
	"io"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/base"
	"github.com/varve-image/varve/internal/cmdline"
	"github.com/varve-image/varve/internal/place"
)

// places returns what places of images need from flags and the environment.
func (c *command) places() place.Options {
	return place.Options{
		Stdin: func() (io.Reader, error) { return c.stdin.Take("an image") }, Stdout: cmdline.Stdout{W: c.streams.Out},
		TempDir: c.tempDir(), MaxUnpacked: int64(c.limits.unpacked), MaxEntries: c.limits.entries,
		Registry: c.registryOptions, Env: c.streams.Getenv, Memo: c.memo, Pushed: c.cache.pushed,
		Program: func(ctx context.Context, path string) (image.Source, error) {
			return c.dockerTools().Program(ctx, path)
		},
		Warn:  func(text string) { c.ui.Warn("%s", text) },
		Debug: func(text string) { c.ui.Debug("%s", text) },
	}
}

// open opens the images that a reference names: all images of a place, or the one
// with a name. If that is for several platforms, the image for --platform is taken.
// They stay open until the command ends.
func (c *command) open(ctx context.Context, ref string) (*place.Images, error) {
	want, err := c.registry.wanted()
	if err != nil {
		return nil, err
	}
	return c.keep(place.OpenImages(ctx, ref, want, c.places()))
}

// openOne opens the one image that a reference names. It stays open until the
// command ends.
func (c *command) openOne(ctx context.Context, ref string) (*place.Image, error) {
	want, err := c.registry.wanted()
	if err != nil {
		return nil, err
	}
	found, err := c.keep(place.OpenImage(ctx, ref, want, c.places()))
	if err != nil {
		return nil, err
	}
	return found.List[0], nil
}

// keep keeps images open until the command ends.
func (c *command) keep(found *place.Images, err error) (*place.Images, error) {
	if err == nil {
		c.closers = append(c.closers, found)
	}
	return found, err
}

// bases opens the images that others build on. They stay open until the command ends.
func (c *command) bases() *base.Resolver {
	r := base.New(base.Options{
		Places: c.places(), Root: c.root, Architecture: hostArchitecture,
		Unlocked: c.unlocked, Locked: c.locked, Cache: c.store, Now: c.streams.Now,
		Progress: c.showProgress,
	})
	c.closers = append(c.closers, r)
	return r
}
