package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/cli/explain"
	"github.com/varve-image/varve/internal/cmdline"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/human"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/internal/problems"
	"github.com/varve-image/varve/internal/tally"
	"github.com/varve-image/varve/internal/transfer"
	"github.com/varve-image/varve/spec"
)

// buildDestination reads the value of -o. Empty means a file in the current
// directory that is named after the image.
func buildDestination(text string, s *spec.Spec) (d transfer.Destination, err error) {
	if text == "" {
		compression, _ := compress.Parse(s.Compressor) // the zero value if there is none
		text = path.Base(s.Name) + ".tar" + compression.Ext()
	}
	if d.Ref, err = place.ParseTarget(text); err != nil {
		return d, err
	}
	if s.Compressor != "" {
		return d, cmdline.Usage(d.Compress(s.Compressor, "the compressor"))
	}
	if algorithm, ok := d.Archived(); ok {
		d.Compression.Algorithm = algorithm
	} else if d.Transport == place.DockerArchive && d.Path == "-" {
		d.Compression.Algorithm = compress.None
	}
	return d, nil
}

// copyDestination returns the destination of an image that exists already.
func (c *command) copyDestination(text string) (transfer.Destination, error) {
	d, err := transfer.To(text)
	if err != nil {
		return d, err
	}
	return d, errors.Join(c.checkDestination(d), c.checkMetadataApart([]transfer.Destination{d}))
}

// transfers says how images are copied, and which of several are.
func (c *command) transfers(want place.Wanted) transfer.Options {
	return transfer.Options{
		Places: c.places(), Wanted: want, Progress: c.showProgress,
		Advise: func(err error) { c.ui.Advise("%s", problems.Annotate(err, explain.Flags)) },
	}
}

// showProgress shows the layers of images that are being copied; layers 0 means that the
// events say how many there are.
func (c *command) showProgress(ctx context.Context, layers int, title string) (func(image.Event), func()) {
	c.prepared()
	task := c.ui.Progress(ctx, layers, title)
	show := observe(task)
	if layers > 0 {
		return show, task.Finish
	}
	return func(e image.Event) {
		task.SetTotal(e.Layers)
		show(e)
	}, task.Finish
}

// prepare shows what is done before the number of layers is known, until layers are shown or
// done is called.
func (c *command) prepare(ctx context.Context, title string) (done func()) {
	c.prepared()
	c.preparing = c.ui.Progress(ctx, 0, title)
	return c.prepared
}

func (c *command) prepared() {
	if c.preparing != nil {
		c.preparing.Finish()
		c.preparing = nil
	}
}

// write writes an image to its destination.
func (c *command) write(ctx context.Context, d transfer.Destination, img image.Named, opts transfer.Options) ([]transfer.Sent, error) {
	c.ui.Debug("writing to %s: %q, compressor: %s", d.Transport.Kind(), d.String(), d.Compression)
	return transfer.Write(ctx, d, []image.Named{img}, opts)
}

// spared returns " (2 reused, 10.2 kB sent)", or nothing if no layer was spared any work.
func spared(ctx context.Context, d transfer.Destination) string {
	t := tally.From(ctx)
	n := t.Spared()
	switch {
	case n == 0:
		return ""
	case d.Transport == place.Registry || d.Transport == place.OCIDir || d.Transport == place.ImageDir || d.Transport.IsEngine():
		return fmt.Sprintf(" (%d reused, %s sent)", n, human.Size(t.Total(tally.Sent).Bytes))
	}
	return fmt.Sprintf(" (%d reused)", n)
}

// tell reports what a registry or an engine has now, and for an index what it lists. The last
// line ends in note. It also takes down what every destination has.
func (c *command) tell(d transfer.Destination, sent []transfer.Sent, note string) {
	c.results.add(d, sent)
	for i, s := range sent {
		end := ""
		if i == len(sent)-1 {
			end = note
		}
		switch {
		case len(s.Platforms) > 0 && s.Present:
			c.ui.Info("%s has index %s already", s.Target, s.Manifest.Digest)
		case len(s.Platforms) > 0:
			var platforms []string
			for _, p := range s.Platforms {
				platforms = append(platforms, ocijson.PlatformText(&p))
			}
			c.ui.Info("%s: index %s of %s%s", d, s.Manifest.Digest, strings.Join(platforms, ", "), end)
		case d.Transport == place.Registry:
			for j, name := range s.Names {
				if j < len(s.Names)-1 {
					c.ui.Info("docker://%s is %s", name, s.Manifest.Digest)
				} else {
					c.ui.Info("docker://%s is %s%s", name, s.Manifest.Digest, end)
				}
			}
		case d.Transport.IsEngine() && s.Present:
			c.ui.Info("%s has %s already", s.Target, calledOr(s.Names, s.ID.String()))
		case d.Transport.IsEngine():
			c.ui.Info("%s: image %s, id %s, %s", s.Target, calledOr(s.Names, "without a name"), idAt(s), human.Count(s.Layers, "layer")+end)
		}
	}
}

// idAt returns the id of an image in an engine, and the digest of its manifest where the engine
// knows the image by that.
func idAt(s transfer.Sent) string {
	if s.Manifest.Digest == "" {
		return s.ID.String()
	}
	return fmt.Sprintf("%s, manifest %s", s.ID, s.Manifest.Digest)
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
