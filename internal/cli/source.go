package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/base"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/internal/problems"
)

// places says what places of images need of flags and the environment.
func (g *global) places() place.Options {
	return place.Options{
		Stdin: func() (io.Reader, error) { return g.streams.In, g.takeStdin("an image") }, Stdout: stdout{g.streams.Out},
		TempDir: g.tempDir(), MaxUnpacked: int64(g.limits.unpacked), MaxEntries: g.limits.entries,
		Registry: g.registryOptions, Env: g.env,
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

// opened are the images that a reference names. They stay open until the command ends.
type opened struct {
	images []*place.Image
	// asked is the name in the reference, if there is one.
	asked string
}

// open opens the images that a reference names: all of a place, or the one of
// a name. Of one for several platforms that for --platform is taken.
func (g *global) open(ctx context.Context, ref string) (*opened, error) {
	src, name, err := g.openSource(ctx, ref)
	if err != nil {
		return nil, err
	}
	platform, err := g.registry.choice()
	if err != nil {
		return nil, err
	}
	if name != "" {
		img, err := g.selectChoice(ctx, src, name)
		return &opened{[]*place.Image{img}, name}, err
	}
	each, err := g.selectEach(ctx, src, platform)
	if err != nil {
		return nil, err
	}
	numbers := make([]int, len(each))
	for n, c := range each {
		numbers[n] = c.Number
	}
	images, err := g.openNumbers(ctx, src, numbers)
	if err != nil {
		return nil, err
	}
	for n, img := range images {
		img.Names = each[n].Names
		if err := g.checkChoice(src, img.Stored); err != nil {
			return nil, err
		}
	}
	return &opened{images, ""}, nil
}

// selectEach chooses all images of a place, or those for --platform, where that is
// given.
func (g *global) selectEach(ctx context.Context, src image.Source, platform v1.Platform) ([]image.Choice, error) {
	if g.registry.platform == "" {
		each, err := image.SelectEach(ctx, src, platform)
		return each, usageError(err)
	}
	each, others, err := image.SelectFor(ctx, src, platform)
	if others > 0 {
		g.ui.Warn("%s: left out: %s for other platforms than %s", src, plural(others, "image"), ocijson.PlatformText(&platform))
	}
	return each, usageError(err)
}

// openOne opens the one image that a reference names. It stays open until the
// command ends.
func (g *global) openOne(ctx context.Context, ref string) (*place.Image, error) {
	src, name, err := g.openSource(ctx, ref)
	if err != nil {
		return nil, err
	}
	return g.selectChoice(ctx, src, name)
}

// selectChoice opens the image of a name for --platform.
func (g *global) selectChoice(ctx context.Context, src image.Source, name string) (*place.Image, error) {
	platform, err := g.registry.choice()
	if err != nil {
		return nil, err
	}
	img, err := g.selectImage(ctx, src, name, platform)
	if err == nil {
		err = g.checkChoice(src, img.Stored)
	}
	return img, err
}

// checkChoice refuses an image that stands alone and is not for the platform
// that was asked for. Where none was, it is taken for any.
func (g *global) checkChoice(src image.Source, img *image.Stored) error {
	if g.registry.platform == "" {
		return nil
	}
	want, err := g.registry.choice()
	if err != nil {
		return err
	}
	return place.CheckFor(src, img, want)
}

// openEvery opens the images that a reference names, of an index those for all
// platforms. They stay open until the command ends.
func (g *global) openEvery(ctx context.Context, ref string) (*opened, error) {
	src, name, err := g.openSource(ctx, ref)
	if err != nil {
		return nil, err
	}
	all, err := image.SelectAll(ctx, src, name)
	if err != nil {
		return nil, usageError(err)
	}
	images, err := g.openNumbers(ctx, src, all)
	return &opened{images, name}, err
}

// maxDocuments bounds the manifests and configs of all images that are opened
// at once, in bytes.
const maxDocuments = 32 << 20

// openNumbers opens images by their numbers in their place. What of them is not there
// is told at once.
func (g *global) openNumbers(ctx context.Context, src image.Source, numbers []int) ([]*place.Image, error) {
	var images []*place.Image
	var missing problems.List
	size := 0
	for n, i := range numbers {
		img, err := place.OpenNumber(ctx, src, i, g.places())
		var lacks *place.LackingError
		switch {
		case errors.As(err, &lacks):
			missing.Add(err)
			continue
		case err != nil:
			return nil, err
		}
		if size += len(img.Manifest) + len(img.ConfigJSON); size > maxDocuments && n > 0 {
			return nil, usageError(hint(fmt.Errorf("%s: the manifests and configs of its images have together more than %d bytes", src, maxDocuments), "name one of them"))
		}
		images = append(images, img)
	}
	return images, missing.Err()
}

func (g *global) selectImage(ctx context.Context, src image.Source, name string, platform v1.Platform) (*place.Image, error) {
	return place.Select(ctx, src, name, platform, g.places())
}

// openSource opens the place that a reference names, and returns the name in
// it that is meant, if any. It stays open until the command ends.
func (g *global) openSource(ctx context.Context, text string) (image.Source, string, error) {
	ref, err := place.ParseSource(text)
	if err != nil {
		return nil, "", err
	}
	src, name, err := place.Open(ctx, ref, g.places())
	if err != nil {
		return nil, "", err
	}
	g.closers = append(g.closers, src)
	return src, name, nil
}

// bases opens the images that others build on. They stay open until the command ends.
func (g *global) bases() *base.Resolver {
	r := base.New(base.Options{
		Places: g.places(), Root: g.root, Architecture: hostArchitecture,
		Unlocked: g.unlocked, Locked: g.locked, Cache: g.store, Now: g.streams.Now,
		Progress: g.watch,
	})
	g.closers = append(g.closers, r)
	return r
}

// close closes what a command left open.
func (g *global) close() {
	for _, c := range g.closers {
		c.Close()
	}
}

// sourceName is what messages call a reference.
func sourceName(ref string) string {
	if ref == "-" {
		return place.StdinName
	}
	return strconv.Quote(ref)
}
