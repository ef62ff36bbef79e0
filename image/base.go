package image

import "github.com/varve-image/varve/internal/ordjson"

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
