package dockerarchive

import (
	"errors"
	"fmt"

	"github.com/varve-image/varve/image/ordjson"
)

func parseManifest(data []byte) ([]manifest, error) {
	v, err := ordjson.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("manifest.json: %w", err)
	}
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return nil, errors.New("manifest.json: expected a list of at least one image")
	}
	images := make([]manifest, len(list))
	for i, item := range list {
		if images[i], err = parseImage(item); err != nil {
			return nil, fmt.Errorf("manifest.json: image %d: %w", i, err)
		}
	}
	return images, nil
}

func parseImage(v any) (m manifest, err error) {
	o, err := ordjson.AsObject(v, "Config", "RepoTags", "Layers")
	if err != nil {
		return m, err
	}
	if m.config, err = o.String("Config"); err != nil {
		return m, err
	}
	if m.config == "" {
		return m, errors.New("Config: not given")
	}
	if m.layers, err = o.Strings("Layers"); err != nil {
		return m, err
	}
	m.repoTags, err = o.Strings("RepoTags")
	return m, err
}
