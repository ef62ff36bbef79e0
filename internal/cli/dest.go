package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/internal/ui"
	"github.com/varve-image/varve/spec"
)

// destination is where an image is written to.
type destination struct {
	place.Ref
	// compression is the archive's in a docker-archive, the layers' elsewhere.
	compression compress.Compression
}

// buildDestination reads what -o was given. Empty is a file in the current
// directory that is called after the image.
func buildDestination(text string, s *spec.Spec) (*destination, error) {
	compression, err := compress.Parse(s.Compressor)
	explicit := s.Compressor != ""
	if !explicit {
		compression, err = compress.Compression{}, nil
	}
	if err != nil {
		return nil, usageError(err)
	}
	if text == "" {
		text = path.Base(s.Name) + ".tar" + compression.Ext()
	}
	ref, err := place.ParseTarget(text)
	if err != nil {
		return nil, err
	}
	d := &destination{ref, compression}
	algorithm, ok := ref.Archived()
	switch {
	case !ok && ref.Transport == place.DockerArchive && ref.Path == "-" && !explicit:
		d.compression = compress.Compression{Algorithm: compress.None}
	case ok && explicit && algorithm != compression.Algorithm:
		return nil, usageError(fmt.Errorf("the name %q says compression %q and the compressor %q: change one of them", d.Path, algorithm, compression.Algorithm))
	case ok && !explicit:
		d.compression = compress.Compression{Algorithm: algorithm}
	}
	return d, nil
}

// copyDestination is where an image goes that is there already: archives are
// compressed as their name says.
func (g *global) copyDestination(text string) (*destination, error) {
	ref, err := place.ParseTarget(text)
	if err != nil {
		return nil, err
	}
	d := &destination{Ref: ref}
	if d.Transport == place.LayerDir {
		return nil, usageError(fmt.Errorf("destination %q: an image is more than one layer; build makes it of a spec", text))
	}
	if err := g.checkDestination(d); err != nil {
		return nil, err
	}
	if algorithm, ok := ref.Archived(); ok {
		d.compression.Algorithm = algorithm
	} else if d.Transport == place.DockerArchive {
		d.compression.Algorithm = compress.None
	}
	return d, nil
}

// targetOptions says how images are written there.
func (g *global) targetOptions(d *destination) place.TargetOptions {
	return place.TargetOptions{Options: g.places(), Compression: d.compression}
}

// write writes images to their destination, and tells what a registry or an engine has then.
// A destination that has a name is for one image.
func (g *global) write(ctx context.Context, d *destination, images ...image.Named) ([]image.Written, error) {
	target, err := place.To(ctx, d.Ref, g.targetOptions(d))
	if err != nil {
		return nil, err
	}
	observe, done := g.watch(ctx, image.CountLayers(images), "writing "+images[0].Repository())
	defer done()
	for _, img := range images {
		g.warnNameless(d, img.Names)
	}
	written, err := target.Write(ctx, images, observe)
	for i, w := range written {
		g.tellRemote(d, target, w, len(images[i].Layers()))
	}
	return written, err
}

// tellRemote tells what a registry or an engine has of an image.
func (g *global) tellRemote(d *destination, target image.Target, w image.Written, layers int) {
	switch {
	case d.Transport == place.Registry:
		for _, name := range w.Names {
			g.ui.Info("docker://%s is %s", name, w.Manifest.Digest)
		}
	case d.Transport.IsEngine() && w.Present:
		g.ui.Info("%s has %s already", target, calledOr(w.Names, w.ID.String()))
	case d.Transport.IsEngine():
		g.ui.Info("%s: image %s, id %s, %s", target, calledOr(w.Names, "without a name"), w.ID, plural(layers, "layer"))
	}
}

// calledOr is a list of names for a message, or other without any.
func calledOr(names []string, other string) string {
	if len(names) == 0 {
		return other
	}
	return plain(strings.Join(names, ", "))
}

// named returns the image's names as they are at the destination, each with a tag.
func (d *destination) named(ctx context.Context, img image.Named) (image.Names, error) {
	if d.Transport.HasRepoTags() && d.Name != "" {
		img.Names = img.Renamed(d.Name)
	}
	return img.Tagged(ctx)
}

// where is the place for messages, with a file's size.
func (d *destination) where() string {
	if st, err := os.Stat(d.Path); err == nil && st.Mode().IsRegular() {
		return d.String() + " (" + ui.Size(st.Size()) + ")"
	}
	return d.String()
}

// outside refuses a destination that lies in a directory that is copied into
// the image: the next image would hold this one.
func (d *destination) outside(s *spec.Spec) error {
	copies := slices.Clone(s.CopyToRoot)
	for _, g := range s.Layers {
		copies = append(copies, g.CopyToRoot...)
	}
	var sources []string
	for _, c := range copies {
		sources = append(sources, c.Source)
	}
	return outsideOf(d.Path, sources, "is copied into the image")
}

// outsideOf refuses an output that lies in a directory that is put into
// it.
func outsideOf(output string, sources []string, what string) error {
	if output == "-" || output == "" {
		return nil
	}
	at, err := filepath.Abs(output)
	if err != nil {
		return err
	}
	for _, source := range sources {
		dir, err := filepath.Abs(source)
		if err != nil {
			return err
		}
		if st, err := os.Stat(dir); err == nil && st.IsDir() && strings.HasPrefix(at+"/", strings.TrimSuffix(dir, "/")+"/") {
			return usageError(hint(fmt.Errorf("the output %q lies in %q, which %s", output, source, what),
				"write it elsewhere, or what is made next will hold it"))
		}
	}
	return nil
}

// stdout is standard output.
type stdout struct{ w io.Writer }

func (s stdout) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	return n, outputError(err)
}
