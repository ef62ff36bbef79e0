package image

import (
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/internal/ordjson"
)

// Base is an image that is there already and that another one builds on.
type Base struct {
	// RepoTags are the names that it has where it comes from.
	RepoTags []string
	// ConfigJSON is its config, as it is written.
	ConfigJSON []byte
	// Config is the same, parsed.
	Config *ordjson.Object
	// Layers are its layers, the lowest first. The Title of one is the name
	// that it has where it comes from.
	Layers []Layer
}

// ParseConfig reads an image config and the digests of its layers' tars (OCI
// image-spec, config.md). Keys that a reader might take for rootfs or diff_ids
// are an error.
func ParseConfig(data []byte) (*ordjson.Object, []digest.Digest, error) {
	config, err := ordjson.ParseObject(data, "rootfs", "history", "config", "architecture", "os")
	if err != nil {
		return nil, nil, err
	}
	v, _ := config.Get("rootfs")
	rootfs, err := ordjson.AsObject(v, "diff_ids")
	if err != nil {
		return nil, nil, fmt.Errorf("rootfs: %w", err)
	}
	texts, err := rootfs.Strings("diff_ids")
	if err != nil {
		return nil, nil, fmt.Errorf("rootfs.%w", err)
	}
	ids := make([]digest.Digest, len(texts))
	for i, t := range texts {
		if ids[i], err = digest.Parse(t); err != nil || ids[i].Algorithm() != digest.SHA256 {
			return nil, nil, fmt.Errorf("rootfs.diff_ids[%d]: %q is not sha256: and 64 hexadecimal digits", i, t)
		}
	}
	return config, ids, nil
}
