package cli

import (
	"context"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/cmdline"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/human"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/internal/problems"
	"github.com/varve-image/varve/internal/transfer"
	"github.com/varve-image/varve/spec"
)

// buildDestination reads the value of -o. Empty means a file in the current
// directory that is named after the image.
func buildDestination(text string, s *spec.Spec) (d transfer.Destination, err error) {
	compression, err := compress.Parse(s.Compressor)
	explicit := s.Compressor != ""
	if !explicit {
		compression, err = compress.Compression{}, nil
	}
	if err != nil {
		return d, cmdline.Usage(err)
	}
	if text == "" {
		text = path.Base(s.Name) + ".tar" + compression.Ext()
	}
	ref, err := place.ParseTarget(text)
	if err != nil {
		return d, err
	}
	d = transfer.Destination{Ref: ref, Compression: compression}
	algorithm, ok := ref.Archived()
	switch {
	case !ok && ref.Transport == place.DockerArchive && ref.Path == "-" && !explicit:
		d.Compression = compress.Compression{Algorithm: compress.None}
	case ok && explicit && algorithm != compression.Algorithm:
		return d, cmdline.Usage(fmt.Errorf("the name %q says compression %q and the compressor %q: change one of them", d.Path, algorithm, compression.Algorithm))
	case ok && !explicit:
		d.Compression = compress.Compression{Algorithm: algorithm}
	}
	return d, nil
}

// copyDestination returns the destination of an image that exists already.
func (g *global) copyDestination(text string) (transfer.Destination, error) {
	d, err := transfer.To(text)
	if err != nil {
		return d, err
	}
	return d, g.checkDestination(d)
}

// transfers says how images are copied, and which of several are.
func (g *global) transfers(want place.Wanted) transfer.Options {
	return transfer.Options{
		Places: g.places(), Wanted: want, Progress: g.showProgress,
		Advise: func(err error) { g.advise("%s", problems.Annotate(err, flagsFor)) },
	}
}

// showProgress shows the layers of images that are being copied; layers 0 means that the
// events say how many there are.
func (g *global) showProgress(ctx context.Context, layers int, title string) (func(image.Event), func()) {
	task := g.ui.Progress(ctx, layers, title)
	show := observe(task)
	if layers > 0 {
		return show, task.Finish
	}
	return func(e image.Event) {
		task.SetTotal(e.Layers)
		show(e)
	}, task.Finish
}

// write writes images to their destination, and reports what a registry or an engine has
// then. A destination with a name is for one image.
func (g *global) write(ctx context.Context, d transfer.Destination, images ...image.Named) ([]transfer.Sent, error) {
	g.ui.Debug("writing to %s: %q, compressor: %s", d.Transport.Kind(), d.String(), d.Compression)
	sent, err := transfer.Write(ctx, d, images, g.transfers(place.Wanted{}))
	g.tell(d, sent)
	return sent, err
}

// tell reports what a registry or an engine has now, and for an index what it lists.
func (g *global) tell(d transfer.Destination, sent []transfer.Sent) {
	for _, s := range sent {
		switch {
		case len(s.Platforms) > 0:
			var platforms []string
			for _, p := range s.Platforms {
				platforms = append(platforms, ocijson.PlatformText(&p))
			}
			g.ui.Info("%s: index %s of %s", d, s.Manifest.Digest, strings.Join(platforms, ", "))
		case d.Transport == place.Registry:
			for _, name := range s.Names {
				g.ui.Info("docker://%s is %s", name, s.Manifest.Digest)
			}
		case d.Transport.IsEngine() && s.Present:
			g.ui.Info("%s has %s already", s.Target, calledOr(s.Names, s.ID.String()))
		case d.Transport.IsEngine():
			g.ui.Info("%s: image %s, id %s, %s", s.Target, calledOr(s.Names, "without a name"), s.ID, human.Count(s.Layers, "layer"))
		}
	}
}

// calledOr returns a list of names for a message, or other if there are none.
func calledOr(names []string, other string) string {
	if len(names) == 0 {
		return other
	}
	return human.Plain(strings.Join(names, ", "))
}

// namesAt returns the image's names at the destination, each with a tag.
func namesAt(ctx context.Context, d transfer.Destination, img image.Named) (image.Names, error) {
	if d.Transport.HasRepoTags() && d.Name != "" {
		img.Names = img.Renamed(d.Name)
	}
	return img.Tagged(ctx)
}

// where returns the place for messages, with a file's size.
func where(d transfer.Destination) string {
	if st, err := os.Stat(d.Path); err == nil && st.Mode().IsRegular() {
		return d.String() + " (" + human.Size(st.Size()) + ")"
	}
	return d.String()
}

// outside refuses a destination in a directory that is copied into the image: the
// next image would contain this one.
func outside(d transfer.Destination, s *spec.Spec) error {
	copies := slices.Clone(s.CopyToRoot)
	for _, g := range s.Layers {
		copies = append(copies, g.CopyToRoot...)
	}
	var sources []string
	for _, c := range copies {
		sources = append(sources, c.Source)
	}
	return cmdline.OutsideOf(d.Path, sources, "is copied into the image")
}
