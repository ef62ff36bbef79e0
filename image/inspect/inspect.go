// Package inspect finds out what is in an image: its names and platform, its config, and for
// each layer what files it has and where.
//
// Guarantees:
//
//   - Every layer is read to its end, so that its digests have been compared.
//   - JSON has its keys in one order, and the config as it is stored.
//   - Text can be shown on a terminal, whatever the image says.
//
// Non-goals: the contents of files; what a layer hides of those below.
package inspect

import (
	"context"
	"fmt"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/layer"
)

// Image describes what is in an image. It is marshalled as JSON in the order of varve inspect
// --json.
type Image struct {
	// Names are the image's names in its place.
	Names []string
	// ID is the digest of the config.
	ID digest.Digest
	// Manifest is the digest of its manifest, and Index of the index that it was chosen from;
	// empty for none.
	Manifest, Index digest.Digest
	// Platform is the platform that the config names.
	Platform v1.Platform
	// Created is the time in the config, as written there; empty for none.
	Created string
	// Size is the size of all layers' tars together, in bytes.
	Size int64
	// Layers are in their order, the lowest first.
	Layers []Layer
	// Config is the whole config.
	Config *ordjson.Object
}

// Layer describes what is in a layer.
type Layer struct {
	// Stored describes the layer as its place has it; its digest is empty where the place does
	// not give one.
	Stored v1.Descriptor
	// Info describes its tar.
	layer.Info
	// Summary says what is in the tar.
	layer.Summary
	// History says how the layer was made, by the config; its fields are empty where that says
	// nothing.
	History History
}

// History is an entry of a config's history.
type History struct{ Created, CreatedBy, Comment string }

// Read reads an image's layers to their ends. names are its names in its place.
func Read(ctx context.Context, img *image.Stored, names []string) (*Image, error) {
	all := &Image{
		Names: names, ID: digest.FromBytes(img.ConfigJSON),
		Manifest: img.ManifestDescriptor.Digest, Index: img.Index(),
		Platform: img.ConfigPlatform(), Config: img.Config,
		Created: text(img.Config, "created"),
	}
	history := layerHistory(img.Config)
	for i, l := range img.StoredLayers() {
		read, err := readLayer(ctx, l)
		if err != nil {
			return nil, fmt.Errorf("layer %d: %w", i+1, err)
		}
		if i < len(history) {
			read.History = history[i]
		}
		all.Size += read.Info.Size
		all.Layers = append(all.Layers, *read)
	}
	return all, nil
}

func readLayer(ctx context.Context, l image.StoredLayer) (*Layer, error) {
	info, err := l.Info(ctx)
	if err != nil {
		return nil, err
	}
	r, err := l.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	summary, err := layer.Summarize(ctx, r)
	if err != nil {
		return nil, err
	}
	return &Layer{Stored: l.Stored(), Info: info, Summary: *summary}, nil
}

// layerHistory returns the history entries of the layers: all but those marked as having no
// layer.
func layerHistory(config *ordjson.Object) []History {
	v, _ := config.Get("history")
	list, _ := v.([]any)
	var layers []History
	for _, item := range list {
		o, _ := item.(*ordjson.Object)
		if empty, _ := o.Get("empty_layer"); empty != true {
			layers = append(layers, History{text(o, "created"), text(o, "created_by"), text(o, "comment")})
		}
	}
	return layers
}

// text returns a member that is a string, or "".
func text(o *ordjson.Object, key string) string {
	v, _ := o.Get(key)
	s, _ := v.(string)
	return s
}
