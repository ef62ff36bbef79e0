package image

import (
	"context"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/internal/ocijson"
)

// Description describes an image to make. The zero value has no layers and no platform.
type Description struct {
	// Layers are the layers, the lowest first, those of Base included. History describes, in the
	// config, the layers that Base does not have.
	Layers  []Layer
	History []History
	// Base is the image that this one builds on, or nil. Its history, and config fields that
	// have no counterpart below, are kept as they are.
	Base *Stored
	// Created is the config's time, as in RFC 3339.
	Created string
	// Architecture and OS have the values of Go's GOARCH and GOOS. Variant is the architecture's
	// variant, such as v7, or empty.
	Architecture, OS, Variant string
	// Config says how a container runs; nil means unset.
	Config *Config
	// Annotations are the manifest's, where the image has one.
	Annotations map[string]string
	// ModTime is the time of an archive's members, in seconds since 1970.
	ModTime int64
}

// Config is the config's field of the same name (OCI image-spec, config.md): User, Env, Cmd and
// the like, in their order, including those that varve does not know.
type Config = ordjson.Object

// History is an entry of the config's history (OCI image-spec, config.md).
type History struct {
	Created   string
	CreatedBy string
	Comment   string
}

// Built is an image that is being made.
type Built struct{ d Description }

// New returns the image of a description, which must not be changed any more.
func New(d Description) *Built { return &Built{d} }

// Layers returns the layers, the lowest first.
func (img *Built) Layers() []Layer { return img.d.Layers }

// Platform returns the image's platform.
func (img *Built) Platform() v1.Platform {
	return ocijson.Normal(v1.Platform{OS: img.d.OS, Architecture: img.d.Architecture, Variant: img.d.Variant})
}

// RawConfig returns the image's config: OCI image-spec's, with the fields and
// the layout that nixpkgs gives it. It needs every layer's digest.
func (img *Built) RawConfig(ctx context.Context) ([]byte, error) {
	diffIDs, err := img.diffIDs(ctx)
	if err != nil {
		return nil, err
	}
	config := img.d.Config
	if config == nil {
		config = &ordjson.Object{}
	}
	o := &ordjson.Object{Members: []ordjson.Member{
		{Key: "created", Value: img.d.Created},
		{Key: "architecture", Value: img.d.Architecture},
		{Key: "os", Value: img.d.OS},
	}}
	if img.d.Variant != "" {
		o.Set("variant", img.d.Variant)
	}
	o.Set("config", config)
	o.Set("rootfs", &ordjson.Object{Members: []ordjson.Member{
		{Key: "diff_ids", Value: diffIDs},
		{Key: "type", Value: "layers"},
	}})
	o.Set("history", img.history())
	if img.d.Base != nil {
		for _, m := range img.d.Base.Config.Members {
			if _, ok := o.Get(m.Key); !ok {
				o.Members = append(o.Members, m)
			}
		}
	}
	return ordjson.Marshal(o)
}

// diffIDs returns the layers' diffIDs. Those of the base are in its config: no layer has to be
// read for them.
func (img *Built) diffIDs(ctx context.Context) ([]any, error) {
	ids := make([]any, 0, len(img.d.Layers))
	if img.d.Base != nil {
		for _, id := range img.d.Base.DiffIDs {
			ids = append(ids, id.String())
		}
	}
	for _, l := range img.d.Layers[len(ids):] {
		info, err := l.Info(ctx)
		if err != nil {
			return nil, err
		}
		ids = append(ids, info.DiffID.String())
	}
	return ids, nil
}

// history returns the base's history as it is, and an entry for each other layer. A base whose
// history does not fit its layers gets one that does.
func (img *Built) history() []any {
	all := []any{}
	if img.d.Base != nil {
		all = append(all, img.d.Base.history()...)
	}
	for _, h := range img.d.History {
		all = append(all, h.object())
	}
	return all
}

func (h History) object() *ordjson.Object {
	o := &ordjson.Object{}
	for _, m := range []struct{ key, value string }{
		{"created", h.Created}, {"created_by", h.CreatedBy}, {"comment", h.Comment},
	} {
		if m.value != "" {
			o.Set(m.key, m.value)
		}
	}
	return o
}

// ModTime returns the time that an archive of the image gives its members, in seconds since
// 1970: the description's time for a built image, and otherwise the default of specs.
func ModTime(img Image) int64 {
	if b, ok := unwrap(img).(*Built); ok {
		return b.d.ModTime
	}
	return 1
}

// KnownDiffIDs returns the diffIDs of the lowest layers that a stored config lists: no layer has
// to be read for them, and they have not been verified yet.
func KnownDiffIDs(img Image) []digest.Digest {
	switch img := unwrap(img).(type) {
	case *Stored:
		return img.DiffIDs
	case *Built:
		if img.d.Base != nil {
			return img.d.Base.DiffIDs
		}
	}
	return nil
}
