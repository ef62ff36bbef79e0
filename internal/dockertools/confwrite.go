package dockertools

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/internal/assemble"
	"github.com/varve-image/varve/spec"
)

// ConfJSON returns the conf.json from which ParseConf makes the same image, with the
// history that nixpkgs would give it. The image's top layer has to be in the
// directory top, as layer.tar and checksum. What a conf.json cannot express is an
// error.
func ConfJSON(r *assemble.Result, top string) ([]byte, error) {
	s, d := r.Spec, r.Description
	if s.Tag == "" {
		return nil, specError("tag", errors.New("a conf.json needs one"))
	}
	created := d.Created
	if s.Created != nil && s.Created.Now {
		created = "now"
	}
	stores, built, err := confLayers(r)
	if err != nil {
		return nil, err
	}
	o := &ordjson.Object{Members: []ordjson.Member{
		{Key: "architecture", Value: d.Architecture},
		{Key: "config", Value: s.Config},
		{Key: "os", Value: d.OS},
		{Key: "store_dir", Value: s.StoreDir},
		{Key: "from_image", Value: nil},
		{Key: "store_layers", Value: stores},
		{Key: "customisation_layer", Value: top},
		{Key: "repo_tag", Value: s.Name + ":" + s.Tag},
		{Key: "created", Value: created},
		{Key: "mtime", Value: assemble.FormatTime(time.Unix(s.MTime, 0).UTC())},
		{Key: "uid", Value: strconv.FormatUint(uint64(s.UID), 10)},
		{Key: "gid", Value: strconv.FormatUint(uint64(s.GID), 10)},
		{Key: "uname", Value: s.Uname},
		{Key: "gname", Value: s.Gname},
	}}
	if s.Variant != "" {
		o.Set("variant", s.Variant)
	}
	if len(built) > 0 {
		o.Set("built_layers", built)
	}
	if s.FromImage != "" {
		if s.Inherit != spec.InheritEnv || s.FromImageName != "" || !filepath.IsAbs(s.FromImage) {
			return nil, specError("fromImage", errors.New("a conf.json takes the path of an archive with one image, of which it inherits env"))
		}
		o.Set("from_image", s.FromImage)
	}
	return ordjson.Marshal(o)
}

// confLayers returns the layers between the base's and the top one: store layers,
// and above them the directories of built layers.
func confLayers(r *assemble.Result) (stores, built []any, err error) {
	stores = []any{}
	for i, l := range r.Layers {
		switch {
		case l.Kind == assemble.KindBase, i == len(r.Layers)-1 && l.Kind == assemble.KindTree && len(l.Paths) == 0:
		case l.Built != "":
			built = append(built, l.Built)
		case l.Kind == assemble.KindStore && len(built) == 0:
			stores = append(stores, anys(l.Paths))
		default:
			return nil, nil, fmt.Errorf("layer %d is neither a store layer nor the top one, which a conf.json has no place for", i+1)
		}
	}
	return stores, built, nil
}

func anys(texts []string) []any {
	list := make([]any, len(texts))
	for i, t := range texts {
		list[i] = t
	}
	return list
}
