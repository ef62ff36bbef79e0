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
func (g *global) places() place.Options {
	return place.Options{
		Stdin: func() (io.Reader, error) { return g.streams.In, g.stdin.Take("an image") }, Stdout: cmdline.Stdout{W: g.streams.Out},
		TempDir: g.tempDir(), MaxUnpacked: int64(g.limits.unpacked), MaxEntries: g.limits.entries,
		Registry: g.registryOptions, Env: g.env, Memo: g.memo,
		Program: func(ctx context.Context, path string) (image.Source, error) {
			return g.dockerTools().Program(ctx, path)
		},
		Warn:  func(text string) { g.ui.Warn("%s", text) },
		Debug: func(text string) { g.ui.Debug("%s", text) },
	}
}

// env returns a variable of the environment, or "".
func (g *global) env(name string) string {
	value, _ := g.streams.LookupEnv(name)
	return value
}

// open opens the images that a reference names: all images of a place, or the one
// with a name. If that is for several platforms, the image for --platform is taken.
// They stay open until the command ends.
func (g *global) open(ctx context.Context, ref string) (*place.Images, error) {
	want, err := g.registry.wanted()
	if err != nil {
		return nil, err
	}
	return g.keep(place.OpenImages(ctx, ref, want, g.places()))
}

// openOne opens the one image that a reference names. It stays open until the
// command ends.
func (g *global) openOne(ctx context.Context, ref string) (*place.Image, error) {
	want, err := g.registry.wanted()
	if err != nil {
		return nil, err
	}
	found, err := g.keep(place.OpenImage(ctx, ref, want, g.places()))
	if err != nil {
		return nil, err
	}
	return found.List[0], nil
}

// keep keeps images open until the command ends.
func (g *global) keep(found *place.Images, err error) (*place.Images, error) {
	if err == nil {
		g.closers = append(g.closers, found)
	}
	return found, err
}

// bases opens the images that others build on. They stay open until the command ends.
func (g *global) bases() *base.Resolver {
	r := base.New(base.Options{
		Places: g.places(), Root: g.root, Architecture: hostArchitecture,
		Unlocked: g.unlocked, Locked: g.locked, Cache: g.store, Now: g.streams.Now,
		Progress: g.showProgress,
	})
	g.closers = append(g.closers, r)
	return r
}
