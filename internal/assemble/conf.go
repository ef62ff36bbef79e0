package assemble

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/spec"
	"github.com/varve-image/varve/tree"
)

// Conf is what nixpkgs' streamLayeredImage hands to its streamer: conf.json.
type Conf struct {
	architecture, os   string
	config             *ordjson.Object
	storeDir           string
	fromImage          string
	customisationLayer string
	// builtLayers are not in nixpkgs' files: directories of layers above the
	// store layers.
	builtLayers []string
	// variant is not either.
	variant        string
	repoTag        string
	created, mtime string
	uid, gid       uint32
	uname, gname   string
	storeLayers    [][]string
}

// IsConf tells whether data is a conf.json rather than a spec. One that is
// broken counts too, so that its own error is reported.
func IsConf(data []byte) bool {
	return bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) && bytes.Contains(data, []byte(`"store_layers"`))
}

// ParseConf reads a conf.json. Fields that are not known are an error: they
// belong to a version of nixpkgs whose images would come out wrong.
func ParseConf(data []byte) (*Conf, error) {
	v, err := ordjson.Parse(data)
	if err != nil {
		return nil, err
	}
	o, ok := v.(*ordjson.Object)
	if !ok {
		return nil, errors.New("expected an object")
	}
	c := &Conf{
		os: "linux", storeDir: "/nix/store", mtime: "1970-01-01T00:00:01+00:00",
		uname: "root", gname: "root", config: &ordjson.Object{},
	}
	fields := map[string]func(any) error{
		"architecture":        textInto(&c.architecture),
		"os":                  textInto(&c.os),
		"variant":             textInto(&c.variant),
		"store_dir":           textInto(&c.storeDir),
		"from_image":          textInto(&c.fromImage),
		"customisation_layer": textInto(&c.customisationLayer),
		"repo_tag":            textInto(&c.repoTag),
		"created":             textInto(&c.created),
		"mtime":               textInto(&c.mtime),
		"uid":                 idInto(&c.uid),
		"gid":                 idInto(&c.gid),
		"uname":               textInto(&c.uname),
		"gname":               textInto(&c.gname),
		"config":              objectInto(&c.config),
		"store_layers":        c.setStoreLayers,
		"built_layers": func(v any) (err error) {
			c.builtLayers, err = ordjson.StringList("", v)
			return err
		},
	}
	var errs []error
	for _, m := range o.Members {
		set := fields[m.Key]
		if set == nil {
			errs = append(errs, fmt.Errorf("%s: this field of conf.json is not known", m.Key))
		} else if err := set(m.Value); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", m.Key, err))
		}
	}
	if errs = append(errs, c.check()...); len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return c, nil
}

func textInto(dst *string) func(any) error {
	return func(v any) error {
		s, ok := v.(string)
		if !ok && v != nil {
			return errors.New("expected a string")
		}
		*dst = s
		return nil
	}
}

func idInto(dst *uint32) func(any) error {
	return func(v any) error {
		text := ""
		switch v := v.(type) {
		case string:
			text = v
		case json.Number:
			text = v.String()
		}
		id, err := strconv.ParseUint(text, 10, 32)
		if err != nil || id > tree.MaxID {
			return fmt.Errorf("expected a number from 0 to %d", uint32(tree.MaxID))
		}
		*dst = uint32(id)
		return nil
	}
}

func objectInto(dst **ordjson.Object) func(any) error {
	return func(v any) error {
		o, ok := v.(*ordjson.Object)
		if !ok {
			return errors.New("expected an object")
		}
		*dst = o
		return nil
	}
}

func (c *Conf) setStoreLayers(v any) error {
	list, ok := v.([]any)
	if !ok {
		return errors.New("expected a list of lists of store paths")
	}
	for i, item := range list {
		paths, err := ordjson.StringList(fmt.Sprintf("[%d]", i), item)
		if err != nil {
			return err
		}
		c.storeLayers = append(c.storeLayers, paths)
	}
	return nil
}

// check looks at the fields together.
func (c *Conf) check() []error {
	var errs []error
	for _, f := range []struct{ name, value string }{
		{"architecture", c.architecture}, {"customisation_layer", c.customisationLayer},
		{"repo_tag", c.repoTag}, {"created", c.created},
	} {
		if f.value == "" {
			errs = append(errs, fmt.Errorf("%s: missing", f.name))
		}
	}
	for i, paths := range c.storeLayers {
		for _, p := range paths {
			if !strings.HasPrefix(p, c.storeDir+"/") || path.Clean(p) != p || strings.Contains(p, "\x00") {
				errs = append(errs, fmt.Errorf("store_layers[%d]: %q is not a path in the store %q", i, p, c.storeDir))
			}
		}
	}
	return errs
}

// ConfOptions is what an image made of a conf.json depends on besides it.
type ConfOptions struct {
	// Root is put before every absolute path in the conf to find the file.
	Root string
	// StoreRoot is put before paths in the store instead, where it is not empty.
	StoreRoot string
	// RepoTag takes the place of the conf's name and tag.
	RepoTag string
	// Now is what the time "now" stands for.
	Now time.Time
	// OpenBase opens the docker-archive that the conf builds on; without it there
	// is no building on others.
	OpenBase func(ctx context.Context, name string) (*image.Stored, error)
}

// Platform is what the image is for.
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
		return nil, &SpecError{"created", err}
	}
	mtime, err := c.time(c.mtime, opts.Now)
	if err != nil {
		return nil, &SpecError{"mtime", err}
	}
	if _, _, err := image.SplitRepoTag(cmp.Or(opts.RepoTag, c.repoTag)); err != nil {
		return nil, &SpecError{"repo_tag", err}
	}
	d := &image.Description{
		Created: pythonTime(created), Architecture: c.architecture, Variant: c.variant, OS: c.os,
		Config: c.config, ModTime: mtime.Unix(),
	}
	if err := c.addBase(ctx, d, opts); err != nil {
		return nil, err
	}
	c.addStoreLayers(d, mtime, cmp.Or(opts.StoreRoot, opts.Root))
	return d, c.addDirs(d, opts)
}

// physical is where an absolute path of the conf is on this machine.
func (c *Conf) physical(p string, opts ConfOptions) string {
	return Options{Root: opts.Root, StoreRoot: opts.StoreRoot}.rootOf(c.storeDir, p) + p
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

// confTime writes a time as nixpkgs does.
func confTime(seconds int64) string { return pythonTime(time.Unix(seconds, 0).UTC()) }

// pythonTime writes a time as Python's datetime.isoformat does.
func pythonTime(t time.Time) string {
	layout := "2006-01-02T15:04:05"
	if t.Nanosecond() >= 1000 {
		layout += ".000000"
	}
	return t.Format(layout + "-07:00")
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
		return &SpecError{"from_image", errors.New("base images are not opened here")}
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
	c.config, err = inheritConfig(config, c.config, spec.InheritEnv)
	return err
}

func (c *Conf) addStoreLayers(img *image.Description, mtime time.Time, root string) {
	for _, paths := range c.storeLayers {
		c.addLayer(img, layer.Store(paths, layer.StoreOptions{
			UID: c.uid, GID: c.gid, Uname: c.uname, Gname: c.gname, ModTime: mtime.Unix(), Root: root,
		}), paths...)
	}
}

// addDirs adds the layers that are there already: those that were built by
// themselves, and the one that nixpkgs calls the customisation layer.
func (c *Conf) addDirs(img *image.Description, opts ConfOptions) error {
	for _, dir := range append(c.builtLayers, c.customisationLayer) {
		l, err := openLayerDir(c.physical(dir, opts))
		if err != nil {
			return err
		}
		c.addLayer(img, l, dir)
	}
	return nil
}
