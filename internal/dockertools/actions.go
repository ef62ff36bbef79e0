package dockertools

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/varve-image/varve/internal/assemble"
	"github.com/varve-image/varve/internal/base/lockfile"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/internal/place/dockerarchive"
	"github.com/varve-image/varve/internal/place/ocilayout"
	"github.com/varve-image/varve/internal/place/registry"
	"github.com/varve-image/varve/internal/transfer"
	"github.com/varve-image/varve/internal/treefile"
	"github.com/varve-image/varve/spec"
)

// spec returns the derivation's spec, completed with what is not in its file: the closure,
// which is in the attributes, and the tag, which may be the hash of that file's path. lock is
// the path of its varve.lock.
func (t *Tools) spec(a *attributes) (s *spec.Spec, lock string, err error) {
	data, err := readSpec(a.Spec)
	if err != nil {
		return nil, "", err
	}
	dir := filepath.Dir(a.Spec)
	s, err = spec.Parse(bytes.NewReader(data), spec.Options{
		File: a.Spec, Dir: dir, Architecture: t.platform().Architecture,
		Settings: []spec.Setting{set("tag", a.Tag), set("closure", a.file)},
	})
	return s, filepath.Join(dir, lockfile.Name), err
}

// buildImage makes the archive of buildImage.
func (t *Tools) buildImage(ctx context.Context, a *attributes) error {
	return t.build(ctx, a, place.DockerArchive)
}

// buildLayer makes the directory of buildLayer.
func (t *Tools) buildLayer(ctx context.Context, a *attributes) error {
	return t.build(ctx, a, place.LayerDir)
}

// build builds the derivation's spec in the form that the output has.
func (t *Tools) build(ctx context.Context, a *attributes, as place.Transport) error {
	s, lock, err := t.spec(a)
	if err != nil {
		return err
	}
	return t.opts.Build(ctx, s, lock, string(as)+":"+a.out())
}

// buildStream makes the outputs of streamLayeredImage: layer has the top layer, and out is
// a program that writes the image to standard output.
func (t *Tools) buildStream(ctx context.Context, a *attributes) error {
	first, err := firstLine(a.Varve, "stream")
	if err != nil {
		return fmt.Errorf("program %q: %w", a.out(), err)
	}
	result, err := t.buildTop(ctx, a, a.Outputs["layer"])
	if err != nil {
		return err
	}
	defer result.Close()
	conf, err := ConfJSON(result, a.Outputs["layer"])
	if err != nil {
		return err
	}
	return writeFile(a.out(), outputFile{Text: first + "\n" + string(conf), Executable: true})
}

// buildTopLayer makes the attribute layer of buildImage.
func (t *Tools) buildTopLayer(ctx context.Context, a *attributes) error {
	result, err := t.buildTop(ctx, a, a.out())
	if err != nil {
		return err
	}
	if err := result.Close(); err != nil || a.BaseJSON == "" {
		return err
	}
	return writeLayerJSON(ctx, a.out(), a.BaseJSON, t.opts.Now())
}

// buildTop describes the image of the derivation's spec, and writes its top layer
// into the new directory dir.
func (t *Tools) buildTop(ctx context.Context, a *attributes, dir string) (*assemble.Result, error) {
	s, lock, err := t.spec(a)
	if err != nil {
		return nil, err
	}
	result, err := t.opts.Describe(ctx, s, lock)
	if err != nil {
		return nil, err
	}
	if err = writeTopLayer(ctx, result.Image, dir); err != nil {
		result.Close()
		return nil, err
	}
	return result, nil
}

// compression returns the compression that the derivation asks for.
func (a *attributes) compression() (compress.Compression, error) {
	c, err := compress.Parse(a.Compressor)
	return c, asInput(err)
}

// buildArchive makes the archive of buildLayeredImage: what a program of streamLayeredImage
// writes, compressed.
func (t *Tools) buildArchive(ctx context.Context, a *attributes) error {
	c, err := a.compression()
	if err != nil {
		return err
	}
	img, err := t.OpenConf(ctx, a.Image)
	if err != nil {
		return err
	}
	return t.places().Output(a.out())(func(w io.Writer) error {
		return c.Fill(ctx, w, func(w io.Writer) error {
			return dockerarchive.Write(ctx, w, img, dockerarchive.Options{RepeatLayers: true})
		})
	})
}

// buildLayout makes the OCI layout of an image, its layers compressed.
func (t *Tools) buildLayout(ctx context.Context, a *attributes) error {
	c, err := a.compression()
	if err != nil {
		return err
	}
	img, err := t.image(ctx, a)
	if err != nil {
		return err
	}
	_, err = ocilayout.WriteDir(ctx, img.Named(""), a.out(), ocilayout.Options{Compression: c, TempDir: filepath.Dir(a.out())})
	return err
}

// mergeImages makes the archive of mergeImages.
func (t *Tools) mergeImages(ctx context.Context, a *attributes) error {
	c, err := a.compression()
	if err != nil {
		return err
	}
	dest := transfer.Destination{Ref: place.Ref{Transport: place.DockerArchive, Path: a.out()}, Compression: c}
	_, err = transfer.Merge(ctx, a.Images, dest, t.opts.Transfer)
	return err
}

// mergeTrees makes the directory of mergeDrvs.
func (t *Tools) mergeTrees(ctx context.Context, a *attributes) error {
	epoch, err := t.opts.SourceDateEpoch()
	if err != nil {
		return err
	}
	return t.MergeTrees(ctx, a.Sources, &treefile.Output{Path: a.out() + "/"}, epoch)
}

// exportImage makes the tar of exportImage.
func (t *Tools) exportImage(ctx context.Context, a *attributes) error {
	img, err := t.image(ctx, a)
	if err != nil {
		return err
	}
	out := &treefile.Output{Path: a.out(), Compression: compress.Compression{Algorithm: compress.None}}
	return t.Export(ctx, img.Stored, out, &a.MTime)
}

// image opens the derivation's image: without a name, the first one of an archive.
func (t *Tools) image(ctx context.Context, a *attributes) (*place.Image, error) {
	at, err := place.ParseSource(a.Image)
	if err != nil {
		return nil, err
	}
	src, name, err := place.Open(ctx, at, t.places())
	if err != nil {
		return nil, err
	}
	t.keep(src)
	if a.FromImageName != "" {
		return place.SelectCalled(ctx, src, a.FromImageName+":"+a.FromImageTag, t.platform(), t.places())
	}
	return place.Select(ctx, src, name, t.platform(), t.places())
}

// pullImage makes the archive of pullImage. Nix itself checks the hash.
func (t *Tools) pullImage(ctx context.Context, a *attributes) error {
	platform, err := ocijson.ParsePlatform(a.Platform)
	if err != nil {
		return asInput(err)
	}
	want := place.Wanted{Platform: ocijson.Normal(platform), Only: true}
	found, err := place.OpenImage(ctx, registryPrefix+a.Reference, want, t.pullPlaces(a))
	if err != nil {
		return err
	}
	defer found.Close()
	return t.Pull(ctx, found.List[0].Stored, PullOptions{Ref: a.Reference, Name: a.RepoTag, Output: a.out()})
}

// pullPlaces returns the options for places, with the derivation's settings for its
// registry.
func (t *Tools) pullPlaces(a *attributes) place.Options {
	places := t.places()
	places.Registry = func(ref string) (registry.Options, error) {
		o, err := t.places().RegistryOptions(ref)
		o.CAFile = a.CAFile
		if a.Insecure {
			host, _, _ := strings.Cut(a.Reference, "/")
			o.InsecureHosts = []string{host}
		}
		return o, err
	}
	return places
}
