package dockertools

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/tree"
)

// Conf is a conf.json, which nixpkgs' streamLayeredImage passes to its streamer.
type Conf struct {
	architecture, os   string
	config             *ordjson.Object
	storeDir           string
	fromImage          string
	customisationLayer string
	// builtLayers, not in nixpkgs' files, are directories of layers above the store
	// layers.
	builtLayers []string
	// variant is not in nixpkgs' files either.
	variant        string
	repoTag        string
	created, mtime string
	uid, gid       uint32
	uname, gname   string
	storeLayers    [][]string
}

// IsConf reports whether data is a conf.json rather than a spec. A broken one
// counts too, so that its own error is reported.
func IsConf(data []byte) bool {
	return bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) && bytes.Contains(data, []byte(`"store_layers"`))
}

// ParseConf reads a conf.json. Unknown fields are an error: they belong to a
// version of nixpkgs whose images would come out wrong.
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

// check checks the fields against each other.
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
