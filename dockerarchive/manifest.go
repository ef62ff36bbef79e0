package dockerarchive

import (
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/internal/ordjson"
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
	o, ok := v.(*ordjson.Object)
	if !ok {
		return m, errors.New("expected an object")
	}
	config, _ := o.Get("Config")
	if m.config, ok = config.(string); !ok {
		return m, errors.New("Config: expected the name of a member")
	}
	if m.layers, err = stringList(o, "Layers"); err != nil {
		return m, err
	}
	m.repoTags, err = stringList(o, "RepoTags")
	return m, err
}

// stringList reads a list of strings. null and a key that is not there are
// the empty list.
func stringList(o *ordjson.Object, key string) ([]string, error) {
	v, _ := o.Get(key)
	if v == nil {
		return nil, nil
	}
	list, ok := v.([]any)
	if !ok {
		return nil, fmt.Errorf("%s: expected a list", key)
	}
	out := make([]string, len(list))
	for i, item := range list {
		if out[i], ok = item.(string); !ok {
			return nil, fmt.Errorf("%s[%d]: expected a string", key, i)
		}
	}
	return out, nil
}

// parseConfig reads an image config and the digests of its layers.
func parseConfig(data []byte) (*ordjson.Object, []digest.Digest, error) {
	v, err := ordjson.Parse(data)
	if err != nil {
		return nil, nil, err
	}
	o, ok := v.(*ordjson.Object)
	if !ok {
		return nil, nil, errors.New("expected an object")
	}
	rootfs, _ := o.Get("rootfs")
	r, ok := rootfs.(*ordjson.Object)
	if !ok {
		return nil, nil, errors.New("rootfs: expected an object")
	}
	texts, err := stringList(r, "diff_ids")
	if err != nil {
		return nil, nil, fmt.Errorf("rootfs.%w", err)
	}
	ids := make([]digest.Digest, len(texts))
	for i, t := range texts {
		if ids[i], err = digest.Parse(t); err != nil || ids[i].Algorithm() != digest.SHA256 {
			return nil, nil, fmt.Errorf("rootfs.diff_ids[%d]: %q is not a sha256 digest", i, t)
		}
	}
	return o, ids, nil
}
