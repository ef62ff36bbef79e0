package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/internal/place/registry"
)

type indexOptions struct {
	output, name string
	annotations  []string
}

func newIndex(g *global) *cobra.Command {
	o := &indexOptions{}
	cmd := &cobra.Command{
		Use:   "index IMAGE... -o DEST",
		Short: "Make one image for several platforms of an image for each",
		Long: `index writes the images into one place and an index that lists them, of which every
machine takes what is for it. IMAGE is what inspect takes; one that is an index brings
all its images, or those for --platform. No two may be for the same platform. DEST is
an OCI layout (DIR/ or oci:DIR[:NAME]), its archive (oci-archive:FILE[:NAME]), dir:DIR or
a registry (docker://HOST/NAME[:TAG]).`,
		Example: `  varve index hello-amd64.tar hello-arm64.tar -o docker://registry.example/hello:1
  varve index docker://debian:12 -o oci:debian:12 --platform linux/amd64,linux/arm64`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runIndex(cmd.Context(), g, o, args)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.output, "output", "o", "", "where to write the index (see above)")
	f.StringVar(&o.name, "name", "", "`NAME:TAG` of the index in an OCI layout (default: the images' own, if they have one)")
	f.StringArrayVar(&o.annotations, "annotation", nil, "`KEY=VALUE` of the index; repeatable")
	return cmd
}

func runIndex(ctx context.Context, g *global, o *indexOptions, refs []string) error {
	if o.output == "" {
		return usageError(hint(errors.New("no output"), "name an OCI layout, its archive or a registry with -o"))
	}
	dest, err := g.copyDestination(o.output)
	if err != nil {
		return err
	}
	if err := dest.CheckIndex(o.output); err != nil {
		return err
	}
	x := &image.Index{}
	if x.Annotations, err = parsePairs("--annotation", o.annotations); err != nil {
		return err
	}
	platforms, err := g.registry.list()
	if err != nil {
		return err
	}
	parts, err := g.indexParts(ctx, refs, platforms)
	if err != nil {
		return err
	}
	var names [][]string
	for _, p := range parts {
		x.Images = append(x.Images, p.Stored)
		names = append(names, p.Names)
	}
	if err := nameIndex(x, o.name, names); err != nil {
		return err
	}
	return g.writeIndex(ctx, x, dest)
}

func parsePairs(flag string, list []string) (map[string]string, error) {
	pairs := map[string]string{}
	for _, text := range list {
		key, value, ok := strings.Cut(text, "=")
		if !ok || key == "" {
			return nil, usageError(fmt.Errorf("%s %q: expected KEY=VALUE", flag, text))
		}
		pairs[key] = value
	}
	return pairs, nil
}

// indexParts opens the images that are to be in an index: all of each
// reference, or those for the platforms. They stay open until the command ends.
func (g *global) indexParts(ctx context.Context, refs []string, platforms []v1.Platform) ([]*place.Image, error) {
	var parts []*place.Image
	var descs []v1.Descriptor
	from := map[string]string{}
	for _, ref := range refs {
		every, err := g.openEvery(ctx, ref)
		if err != nil {
			return nil, err
		}
		for _, img := range every.images {
			p := img.Platform()
			if len(platforms) > 0 && !slices.ContainsFunc(platforms, func(want v1.Platform) bool { return ocijson.Matches(want, &p) }) {
				continue
			}
			key := ocijson.Key(p)
			if other, ok := from[key]; ok {
				return nil, usageError(fmt.Errorf("%s and %s both have an image for %s: an index has one", other, sourceName(ref), ocijson.PlatformText(&p)))
			}
			from[key] = sourceName(ref)
			g.checkAnnounced(ref, img.Stored)
			parts = append(parts, img)
			descs = append(descs, v1.Descriptor{Platform: &p})
		}
	}
	for _, want := range platforms {
		if _, err := ocijson.Choose(descs, want); err != nil { // there is one
			return nil, usageError(err)
		}
	}
	if len(parts) == 0 {
		return nil, errors.New("the references hold no image")
	}
	return parts, nil
}

// nameIndex gives an index the name that was asked for, or one that all its
// images have.
func nameIndex(x *image.Index, name string, names [][]string) error {
	if name != "" {
		if _, _, err := image.SplitRepoTag(name); err != nil {
			return usageError(fmt.Errorf("--name: %w", err))
		}
		x.RepoTags = []string{name}
		return nil
	}
	for i, list := range names {
		names[i] = nil
		for _, name := range list {
			names[i] = append(names[i], place.ShortName(name))
		}
	}
	for _, name := range names[0] {
		if slices.ContainsFunc(names, func(list []string) bool { return !slices.Contains(list, name) }) {
			continue
		}
		kept := image.NamesFor([]string{name}, "")
		if len(kept.RepoTags) > 0 {
			x.Names = kept
			return nil
		}
		if len(x.RefNames) == 0 {
			x.Names = kept
		}
	}
	return nil
}

// writeIndex writes an index and its images to a destination.
func (g *global) writeIndex(ctx context.Context, x *image.Index, d *destination) error {
	target, err := place.ToIndex(ctx, d.Ref, d.String(), g.targetOptions(d))
	if err != nil {
		return err
	}
	task := g.ui.Progress(ctx, image.CountLayers(x.Images), "writing "+x.Repository())
	defer task.Finish()
	written, err := target.WriteIndex(ctx, x, observe(task))
	if err != nil {
		return fmt.Errorf("write index to %q: %w", d.String(), err)
	}
	task.Finish()
	var platforms []string
	for _, img := range x.Images {
		p := img.Platform()
		platforms = append(platforms, ocijson.PlatformText(&p))
	}
	g.ui.Info("%s: index %s of %s", d, written.Manifest.Digest, strings.Join(platforms, ", "))
	return nil
}

// buildIndex makes the images of a spec for several platforms and an index of
// them.
func buildIndex(ctx context.Context, g *global, o *buildOptions, in *input, platforms []v1.Platform) error {
	x := &image.Index{}
	var dest *destination
	for i, p := range platforms {
		s, d, err := parseBuild(g, o, in, p)
		if err != nil {
			return err
		}
		if i == 0 {
			if err := d.CheckIndex(d.String()); err != nil {
				return err
			}
			dest = d
		}
		result, err := buildParsed(ctx, g, s, in.lock(), nil)
		if err != nil {
			return fmt.Errorf("platform %s: %w", ocijson.PlatformText(&p), err)
		}
		g.closers = append(g.closers, result)
		x.Images, x.Names = append(x.Images, result.Image.Image), result.Image.Names
		if x.Annotations == nil && len(s.Annotations) > 0 {
			x.Annotations = map[string]string{}
			for _, a := range s.Annotations {
				x.Annotations[a.Key] = a.Value
			}
		}
	}
	return g.writeIndex(ctx, x, dest)
}

// runCopyAll copies an index with all its images.
func runCopyAll(ctx context.Context, g *global, src, dst string) error {
	dest, err := g.copyDestination(dst)
	if err != nil {
		return err
	}
	if g.registry.platform != "" {
		return usageError(errors.New("--all copies the images for all platforms, --platform chooses one"))
	}
	if from, ok := strings.CutPrefix(src, "docker://"); ok && dest.Transport == place.Registry {
		return g.copyBetween(ctx, from, dest.Name)
	}
	every, err := g.openEvery(ctx, src)
	if err != nil {
		return err
	}
	images := every.images
	isIndex := images[0].Index() != ""
	switch {
	case !sameRaw(images), !isIndex && len(images) > 1:
		return severalImages(src, images)
	case !isIndex:
		return g.copyImages(ctx, every, src, dest)
	}
	if err := dest.CheckIndex(dst); err != nil {
		return err
	}
	x := &image.Index{Raw: images[0].Raw}
	for _, img := range images {
		g.checkAnnounced(src, img.Stored)
		x.Images = append(x.Images, img.Stored)
	}
	g.leftOut(src, x)
	x.Names = (&place.Image{Names: allNames(images)}).Named(every.asked).Names
	return g.writeIndex(ctx, x, dest)
}

// allNames are the names of images that are one.
func allNames(images []*place.Image) []string {
	var all []string
	for _, img := range images {
		all = append(all, img.Names...)
	}
	return all
}

// leftOut warns of what an index lists that is no image.
func (g *global) leftOut(src string, x *image.Index) {
	_, listed, err := ocijson.ParseIndex(x.Raw)
	if err != nil {
		return // whoever writes it says so
	}
	more := slices.DeleteFunc(listed, func(d v1.Descriptor) bool {
		return ocijson.IsIndex(d.MediaType) || !ocijson.IsAttestation(d) && ocijson.IsManifest(d.MediaType)
	})
	if len(more) > 0 {
		g.ui.Warn("%s: left out is what the index lists besides images: %s of attestations or other things", sourceName(src), plural(len(more), "manifest"))
	}
}

// sameRaw tells whether all images come from one index.
func sameRaw(images []*place.Image) bool {
	return !slices.ContainsFunc(images, func(img *place.Image) bool { return !bytes.Equal(img.Raw, images[0].Raw) })
}

func severalImages(ref string, found []*place.Image) error {
	var names []string
	for i, img := range found {
		if len(img.Names) == 0 {
			names = append(names, fmt.Sprintf("@%d", i))
		}
		for _, n := range img.Names {
			names = append(names, plain(n))
		}
	}
	return usageError(hint(fmt.Errorf("%s holds %d images", sourceName(ref), len(found)), "say which: "+strings.Join(names, ", ")))
}

// copyBetween copies what a reference stands for from registry to registry.
func (g *global) copyBetween(ctx context.Context, from, to string) error {
	opts, err := g.registryOptions(from)
	if err != nil {
		return err
	}
	r, err := registry.Resolve(ctx, from, opts)
	if err != nil {
		return err
	}
	if image.Tag(to) == "" && r.Tag != "" {
		to += ":" + r.Tag
	}
	task := g.ui.Progress(ctx, 0, "copying "+r.Name)
	defer task.Finish()
	show := observe(task)
	opts.Observe = func(e image.Event) {
		task.SetTotal(e.Layers)
		show(e)
	}
	d, err := registry.Copy(ctx, r, to, registry.PushOptions{Options: opts, Warn: g.odd(from), Budget: g.imageBudget})
	if err != nil {
		return err
	}
	task.Finish()
	g.ui.Info("docker://%s is %s", to, d.Digest)
	return nil
}
