package cli

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/assemble"
	"github.com/varve-image/varve/internal/atomicfile"
	"github.com/varve-image/varve/internal/place/dockerarchive"
	"github.com/varve-image/varve/internal/place/ocilayout"
	"github.com/varve-image/varve/internal/ui"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/spec"
)

type buildOptions struct {
	spec   specFlags
	output string
}

func newBuild(g *global) *cobra.Command {
	o := &buildOptions{}
	cmd := &cobra.Command{
		Use:   "build [SPEC | -] [-o DEST]",
		Short: "Build an image from a spec, from flags, or from both",
		Long: `build makes the image that a spec describes and writes it to DEST:

  FILE.tar, FILE.tar.gz, FILE.tar.zst   a docker-archive, compressed as its name says
  DIR/                                  an OCI layout
  docker-archive:FILE[:NAME:TAG]        a docker-archive of any name
  oci:DIR[:NAME]                        an OCI layout, added to where it exists
  oci-archive:FILE[:NAME]               the tar of an OCI layout
  dir:DIR                               a directory as skopeo's dir:, which is new or empty
  docker://HOST/NAME[:TAG]              a registry; by the image's own tag without one
  docker-daemon:[NAME:TAG]              Docker
  containers-storage:[NAME:TAG]         Podman, Buildah and CRI-O
  containerd:[NAME:TAG]                 containerd
  layer:DIR                             the last of the spec's layers alone, for layers
                                        of other specs
  -                                     a docker-archive on standard output

With --platform OS/ARCH[,OS/ARCH...] the image is for these platforms; one for
several is an index, in an OCI layout, its archive or a registry. In the spec's paths
${arch}, ${os}, ${variant} and ${platform} stand for each.

Without -o it is a docker-archive in the current directory that is called after
the image. DEST appears when it is complete, or not at all. Flags stand for a
spec or override its fields: scalars and lists are replaced; --env, --label,
--annotation, --expose and --volume are added to.`,
		Example: `  varve build image.yaml -o hello.tar
  varve build --name hello --copy ./rootfs --cmd /bin/hello -o hello.tar
  varve build image.yaml --tag 1.2 --env DEBUG=1 -o oci:images:hello`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runBuild(cmd.Context(), g, o, args)
		},
	}
	o.spec.register(cmd)
	g.registerVerify(cmd)
	cmd.Flags().StringVarP(&o.output, "output", "o", "", "where to write the image (see above)")
	return cmd
}

func runBuild(ctx context.Context, g *global, o *buildOptions, args []string) error {
	in, err := o.spec.read(g, args)
	if err != nil {
		return err
	}
	platforms, err := g.registry.list()
	if err != nil {
		return err
	}
	if len(platforms) > 1 {
		return buildIndex(ctx, g, o, in, platforms)
	}
	return buildTo(ctx, g, o, in, append(platforms, v1.Platform{})[0], nil)
}

// buildTo builds the image of a spec for a platform, which may be empty, and
// writes it to where o says. more, if not nil, adds what a spec cannot say.
func buildTo(ctx context.Context, g *global, o *buildOptions, in *input, p v1.Platform, more func(*assemble.Options)) error {
	s, dest, err := parseBuild(g, o, in, p)
	if err != nil {
		return err
	}
	result, err := buildParsed(ctx, g, s, in.lock(), more)
	if err != nil {
		return err
	}
	defer result.Close()
	if dest.kind == layerDir {
		return g.writeBuilt(ctx, result, dest.path)
	}
	if err := g.write(ctx, dest, result.Image); err != nil {
		return fmt.Errorf("write image to %q: %w", dest.String(), err)
	}
	return g.summary(ctx, result.Image, dest)
}

// parseBuild reads a spec for a platform, which may be empty, and says where
// its image goes.
func parseBuild(g *global, o *buildOptions, in *input, p v1.Platform) (*spec.Spec, *destination, error) {
	s, err := o.spec.parse(in, p)
	if err != nil {
		return nil, nil, err
	}
	dest, err := parseDestination(o.output, s)
	if err != nil {
		return nil, nil, err
	}
	if err := dest.outside(s); err != nil {
		return nil, nil, err
	}
	if err := g.checkDestination(dest); err != nil {
		return nil, nil, err
	}
	g.warnLeftOut(s, dest)
	if dest.path == "-" && ui.IsTerminal(g.streams.Out) {
		err = usageError(hint(fmt.Errorf("an archive is not written to a terminal"), "name a file with -o, or send it to a program"))
	}
	return s, dest, err
}

// warnLeftOut warns of what a spec asks for and the destination has no place for.
func (g *global) warnLeftOut(s *spec.Spec, dest *destination) {
	if len(s.Annotations) > 0 && dest.hasRepoTag() {
		g.ui.Warn("annotations are left out: a docker-archive has no place for them, and engines take one; an OCI layout (-o DIR/) has")
	}
	if s.Compressor != nil && s.Compressor.Algorithm != string(layer.None) && (isEngine(dest.kind) || dest.kind == layerDir) {
		g.advise("compressor has no effect here: what goes to %s is not compressed", dest)
	}
}

// write writes images to their destination. One that has a name is for one image.
func (g *global) write(ctx context.Context, d *destination, images ...*image.Image) error {
	all := &image.Index{Images: images}
	task := g.ui.Progress(ctx, all.Layers(), "writing "+images[0].Repository)
	defer task.Finish()
	if d.hasRepoTag() && d.name != "" {
		if err := rename(images[0], d.name); err != nil {
			return err
		}
	}
	for _, img := range images {
		g.warnNameless(d, img)
	}
	switch {
	case d.kind == dockerRegistry, isEngine(d.kind):
		return g.writeEach(ctx, d, all, observe(task))
	case d.kind == dockerArchive:
		return g.toFile(d.path, func(w io.Writer) error {
			opts := dockerarchive.Options{Observe: observeAll(task, all), TempDir: g.tempDir()}
			return compressed(w, d.compression, func(w io.Writer) error { return dockerarchive.WriteAll(ctx, w, images, opts) })
		})
	}
	opts := ocilayout.Options{Compression: d.compression, RefName: d.name, TempDir: filepath.Dir(d.path), Observe: observe(task), Described: d.described}
	if d.path == "-" {
		opts.TempDir = g.tempDir()
	}
	switch d.kind {
	case imageDir:
		_, err := ocilayout.WriteImageDir(ctx, images, d.path, opts)
		return err
	case ociDir:
		_, err := ocilayout.WriteAllDir(ctx, images, d.path, opts)
		return err
	}
	return g.toFile(d.path, func(w io.Writer) error {
		_, err := ocilayout.WriteAllArchive(ctx, w, images, opts)
		return err
	})
}

// writeEach writes images one after the other to a registry or an engine.
func (g *global) writeEach(ctx context.Context, d *destination, all *image.Index, show func(image.Event)) error {
	for i, img := range all.Images {
		var err error
		if observe := all.Observe(i, show); d.kind == dockerRegistry {
			err = g.toRegistry(ctx, img, d, observe)
		} else {
			err = g.toEngine(ctx, img, d, dockerarchive.Options{Observe: observe, TempDir: g.tempDir()})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// observeAll shows the layers of images that are written one after the other.
func observeAll(task *ui.Task, all *image.Index) func(image.Event) {
	show, i := observe(task), 0
	return func(e image.Event) {
		for i < len(all.Images)-1 && len(all.Images[i].Layers) == 0 { // of which nothing is told
			i++
		}
		all.Observe(i, show)(e)
		if e.Done && e.Layer == e.Layers && i < len(all.Images)-1 {
			i++
		}
	}
}

// toFile has write fill a file that appears whole or not at all, or standard
// output.
func (g *global) toFile(path string, write func(io.Writer) error) error {
	if path == "-" {
		return outputError(write(g.streams.Out))
	}
	f, err := atomicfile.Create(path)
	if err != nil {
		return err
	}
	defer f.Abort()
	if err := write(f.File); err != nil {
		return err
	}
	return f.Commit()
}

// compressed has fill write through a compressor.
func compressed(w io.Writer, c layer.Compression, fill func(io.Writer) error) error {
	if c.Algorithm == layer.None {
		return fill(w)
	}
	z, err := c.NewWriter(w)
	if err != nil {
		return err
	}
	if err := fill(z); err != nil {
		z.Close()
		return err
	}
	return z.Close()
}

// rename gives an image the name that its destination asks for.
func rename(img *image.Image, repoTag string) error {
	name, tag, err := image.SplitRepoTag(repoTag)
	if err != nil {
		return usageError(err)
	}
	img.Repository, img.Tag = name, tag
	return nil
}

// summary tells what was written.
func (g *global) summary(ctx context.Context, img *image.Image, d *destination) error {
	id, err := d.idOf(ctx, img)
	if err != nil {
		return err
	}
	name, err := img.RepoTag(ctx)
	if err != nil {
		return err
	}
	var size int64
	for i, l := range img.Layers {
		info, err := l.Info(ctx)
		if err != nil {
			return err
		}
		g.ui.Debug("layer %d: %s, %s: %s", i+1, info.DiffID, ui.Size(info.Size), l.Title())
		size += info.Size
	}
	g.ui.Info("%s: image %s, id %s, %s in %s", d.where(), name, id, ui.Size(size), plural(len(img.Layers), "layer"))
	return nil
}
