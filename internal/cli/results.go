package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/assemble"
	"github.com/varve-image/varve/internal/atomicfile"
	"github.com/varve-image/varve/internal/cmdline"
	"github.com/varve-image/varve/internal/human"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/internal/regfile"
	"github.com/varve-image/varve/internal/tally"
	"github.com/varve-image/varve/internal/transfer"
)

// results are what destinations have got, for programs: standard output has a line for each, and
// the file of --metadata-file everything.
type results struct {
	list []result
	// made are the images that were built.
	made []*assemble.Result
}

type result struct {
	transfer.Destination
	transfer.Sent
}

func (r *results) add(d transfer.Destination, sent []transfer.Sent) {
	for _, s := range sent {
		r.list = append(r.list, result{d, s})
	}
}

// registerMetadata adds the flag of the commands that write images.
func (c *command) registerMetadata(cmd *cobra.Command) {
	outputGroup.Add(cmd, func(f *pflag.FlagSet) {
		f.StringVar(&c.metadataFile, "metadata-file", "", "write digests, names, layers and what was reused to `FILE`, as JSON")
	})
}

// checkMetadata refuses a file that cannot be written, before there is something to write.
func (c *command) checkMetadata() error {
	if c.metadataFile == "" {
		return nil
	}
	if st, err := os.Stat(c.metadataFile); err == nil && st.IsDir() {
		return cmdline.Usage(fmt.Errorf("--metadata-file %q is a directory: expected a file", c.metadataFile))
	}
	switch dir, err := os.Stat(filepath.Dir(c.metadataFile)); {
	case c.metadataFile == "-":
		return cmdline.Usage(errors.New("--metadata-file is a file: standard output has the digests"))
	case err != nil:
		return fmt.Errorf("--metadata-file %q: its directory: %w", c.metadataFile, regfile.Cause(err))
	case !dir.IsDir():
		return fmt.Errorf("--metadata-file %q: %q is not a directory", c.metadataFile, filepath.Dir(c.metadataFile))
	}
	return nil
}

// report writes what destinations have, once a command has done its work: err is how that ended.
// The file is written if everything went well.
func (c *command) report(ctx context.Context, err error) error {
	err = errors.Join(err, c.printReferences())
	if err != nil || c.metadataFile == "" {
		return err
	}
	m, err := c.results.metadata(ctx)
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	if err := atomicfile.Output(c.metadataFile)(func(w io.Writer) error {
		_, err := w.Write(append(data, '\n'))
		return err
	}); err != nil {
		return fmt.Errorf("write --metadata-file %q: %w", c.metadataFile, err)
	}
	return nil
}

// printReferences prints a line for each image that has a digest where it is, unless standard
// output is an image itself.
func (c *command) printReferences() error {
	var lines []string
	for _, r := range c.results.list {
		if r.Path == "-" {
			return nil
		}
		for _, ref := range r.references() {
			if !slices.Contains(lines, ref) {
				lines = append(lines, ref)
			}
		}
	}
	if len(lines) == 0 {
		return nil
	}
	return c.streams.Print(strings.Join(lines, "\n") + "\n")
}

// references names an image by its digest: as other programs do where it is in a registry or an
// engine, and otherwise as varve does.
func (r result) references() (refs []string) {
	switch {
	case r.Manifest.Digest == "":
		return nil
	case r.Transport == place.Registry || r.Transport.IsEngine():
		for _, name := range r.Names {
			name = image.Names{RepoTags: []string{name}}.Repository()
			if ref := human.Plain(name) + "@" + r.Manifest.Digest.String(); !slices.Contains(refs, ref) {
				refs = append(refs, ref)
			}
		}
		return refs
	}
	at := strings.TrimSuffix(r.Path, "/")
	return []string{human.Plain(string(r.Transport) + ":" + at + "@" + r.Manifest.Digest.String())}
}

// The metadata of --metadata-file; docs/json.md describes it.
type (
	metadata struct {
		Destinations []destinationData `json:"destinations"`
		Images       []imageData       `json:"images"`
	}
	destinationData struct {
		Destination string   `json:"destination"`
		Transport   string   `json:"transport"`
		Names       []string `json:"names"`
		References  []string `json:"references"`
		MediaType   string   `json:"mediaType,omitempty"`
		Digest      string   `json:"digest,omitempty"`
		Size        int64    `json:"size,omitempty"`
		ImageID     string   `json:"id,omitempty"`
		Platforms   []string `json:"platforms"`
		Present     bool     `json:"present,omitempty"`
	}
	imageData struct {
		ImageID  string      `json:"id"`
		Platform string      `json:"platform"`
		Layers   []layerData `json:"layers"`
	}
	layerData struct {
		Kind   string    `json:"kind"`
		Title  string    `json:"title"`
		DiffID string    `json:"diffID"`
		Size   int64     `json:"uncompressedSize,omitempty"`
		Paths  []string  `json:"paths,omitempty"`
		Work   layerWork `json:"work"`
	}
	layerWork struct {
		Hashed     int64 `json:"hashed,omitempty"`
		Compressed int64 `json:"compressed,omitempty"`
		Reused     int64 `json:"reused,omitempty"`
		Sent       int64 `json:"sent,omitempty"`
		Skipped    int64 `json:"skipped,omitempty"`
		Mounted    int64 `json:"mounted,omitempty"`
	}
)

// kindStored is the kind of a layer of an image that existed before.
const kindStored = "stored"

func (r *results) metadata(ctx context.Context) (*metadata, error) {
	m := &metadata{Destinations: []destinationData{}, Images: []imageData{}}
	for _, res := range r.list {
		d := destinationData{
			Destination: res.String(), Transport: string(res.Transport), Names: orEmpty(res.Names), References: orEmpty(res.references()),
			MediaType: res.Manifest.MediaType, Digest: string(res.Manifest.Digest), Size: res.Manifest.Size,
			ImageID: string(res.ID), Platforms: []string{}, Present: res.Present,
		}
		for _, img := range res.Images {
			d.Platforms = append(d.Platforms, platformOf(img))
			described, err := r.describe(ctx, img)
			if err != nil {
				return nil, err
			}
			if !slices.ContainsFunc(m.Images, func(other imageData) bool { return other.ImageID == described.ImageID }) {
				m.Images = append(m.Images, described)
			}
		}
		m.Destinations = append(m.Destinations, d)
	}
	return m, nil
}

func platformOf(img image.Image) string {
	p := img.Platform()
	return ocijson.PlatformText(&p)
}

func orEmpty(list []string) []string { return append([]string{}, list...) }

// describe describes an image that was written, so that its layers are known.
func (r *results) describe(ctx context.Context, img image.Image) (imageData, error) {
	id, err := image.ID(ctx, img)
	if err != nil {
		return imageData{}, err
	}
	data := imageData{ImageID: id.String(), Platform: platformOf(img), Layers: []layerData{}}
	known := image.KnownDiffIDs(img)
	var planned []assemble.PlannedLayer
	for _, made := range r.made {
		if made.Image.Image == img {
			planned = made.Layers
		}
	}
	for i, l := range img.Layers() {
		d := layerData{Kind: kindStored, Title: l.Title(), Work: layerWork(tally.From(ctx).Work(l))}
		if planned != nil {
			d.Kind, d.Paths = planned[i].Kind, planned[i].Paths
		}
		if i < len(known) { // such a layer may not have been read
			d.DiffID = known[i].String()
		} else if info, err := l.Info(ctx); err != nil {
			return data, err
		} else {
			d.DiffID, d.Size = info.DiffID.String(), info.Size
		}
		data.Layers = append(data.Layers, d)
	}
	return data, nil
}
