package dockertools

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/assemble"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/spec"
)

// ConfOptions holds what an image made from a conf.json depends on besides it.
type ConfOptions struct {
	// Root is put before every absolute path in the conf to find the file.
	Root string
	// StoreRoot, if not empty, is put before paths in the store instead.
	StoreRoot string
	// RepoTag replaces the conf's name and tag.
	RepoTag string
	// Now is the time that "now" stands for.
	Now time.Time
	// Memo, where it is set, remembers the digests of layers.
	Memo layer.Memo
	// OpenBase opens the docker-archive that the conf builds on; without it no
	// image can build on another.
	OpenBase func(ctx context.Context, name string) (*image.Stored, error)
}

// Platform returns the platform that the image is for.
func (c *Conf) Platform() v1.Platform { return v1.Platform{OS: c.os, Architecture: c.architecture} }

// Image describes the image of a conf.json, which dockerarchive.Write with
// RepeatLayers writes as nixpkgs' streamer does, byte for byte.
func (c *Conf) Image(ctx context.Context, opts ConfOptions) (image.Named, error) {
	d, err := c.describe(ctx, opts)
	if err != nil {
		return image.Named{}, err
	}
	return image.Named{Image: image.New(*d), Names: image.Names{RepoTags: []string{cmp.Or(opts.RepoTag, c.repoTag)}}}, nil
}

func (c *Conf) describe(ctx context.Context, opts ConfOptions) (*image.Description, error) {
	created, err := c.time(c.created, opts.Now)
	if err != nil {
		return nil, specError("created", err)
	}
	mtime, err := c.time(c.mtime, opts.Now)
	if err != nil {
		return nil, specError("mtime", err)
	}
	if _, _, err := image.SplitRepoTag(cmp.Or(opts.RepoTag, c.repoTag)); err != nil {
		return nil, specError("repo_tag", err)
	}
	d := &image.Description{
		Created: assemble.FormatTime(created), Architecture: c.architecture, Variant: c.variant, OS: c.os,
		Config: c.config, ModTime: mtime.Unix(),
	}
	if err := c.addBase(ctx, d, opts); err != nil {
		return nil, err
	}
	c.addStoreLayers(d, layer.StoreOptions{
		UID: c.uid, GID: c.gid, Uname: c.uname, Gname: c.gname, ModTime: mtime.Unix(), Root: cmp.Or(opts.StoreRoot, opts.Root), Memo: opts.Memo,
	})
	return d, c.addDirs(d, opts)
}

// physical returns where an absolute path of the conf is on this machine.
func (c *Conf) physical(p string, opts ConfOptions) string {
	return assemble.Options{Root: opts.Root, StoreRoot: opts.StoreRoot}.RootOf(c.storeDir, p) + p
}

// time reads a time as nixpkgs writes it: RFC 3339, with an offset. Without one
// Python would take the machine's time zone.
func (c *Conf) time(text string, now time.Time) (time.Time, error) {
	if text == "now" {
		return now.UTC(), nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return t, fmt.Errorf("%q is not a time such as 1970-01-01T00:00:01+00:00", text)
	}
	if t.Unix() < 0 {
		return t, fmt.Errorf("%q is before 1970, which a tar cannot say for all readers", text)
	}
	return t, nil
}

func (c *Conf) addLayer(img *image.Description, l image.Layer, paths ...string) {
	img.Layers = append(img.Layers, l)
	img.History = append(img.History, image.History{Created: img.Created, Comment: image.StorePathsComment(paths)})
}

// addBase adds the layers of the base image, and its environment.
func (c *Conf) addBase(ctx context.Context, img *image.Description, opts ConfOptions) error {
	if c.fromImage == "" {
		return nil
	}
	if opts.OpenBase == nil {
		return specError("from_image", errors.New("base images are not opened here"))
	}
	base, err := opts.OpenBase(ctx, c.physical(c.fromImage, opts))
	if err != nil {
		return err
	}
	for _, l := range base.Layers() {
		c.addLayer(img, l, l.Title())
	}
	if err := c.inheritEnv(base); err != nil {
		return err
	}
	img.Config = c.config
	return nil
}

// inheritEnv puts the base's environment before the image's own.
func (c *Conf) inheritEnv(base *image.Stored) error {
	config, err := base.Run()
	if err != nil {
		return err
	}
	c.config, err = assemble.InheritConfig(config, c.config, spec.InheritEnv)
	return err
}

func (c *Conf) addStoreLayers(img *image.Description, opts layer.StoreOptions) {
	for _, paths := range c.storeLayers {
		c.addLayer(img, layer.Store(paths, opts), paths...)
	}
}

// addDirs adds the layers that exist already: those that were built by themselves,
// and the one that nixpkgs calls the customisation layer.
func (c *Conf) addDirs(img *image.Description, opts ConfOptions) error {
	for _, dir := range append(c.builtLayers, c.customisationLayer) {
		l, err := assemble.OpenLayerDir(c.physical(dir, opts))
		if err != nil {
			return err
		}
		c.addLayer(img, l, dir)
	}
	return nil
}
