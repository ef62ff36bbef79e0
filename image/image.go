// Package image assembles images: an ordered list of layers with the config
// that describes them.
//
// Guarantees:
//
//   - The config is a pure function of the layers' digests and of a
//     Description: no clock, host or user is in it. Its bytes are written as nixpkgs
//     writes them (keys in a fixed order, four spaces, ASCII).
//   - History has one entry for each layer, so that the two always match.
//   - Layers are read when they are needed: digests are computed ahead, some
//     layers at a time, and nothing is held in memory or on disk meanwhile.
//
// Non-goals: where images go. The packages that write them import this one.
package image

import (
	"context"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Image is a container image: layers, and the config that describes them. A *Built is being
// made, a *Stored is in a place already. Its methods may be called by several goroutines.
type Image interface {
	// Layers returns the layers, the lowest first.
	Layers() []Layer
	// RawConfig returns the config (OCI image-spec, config.md), byte for byte. The config of an
	// image that is being made holds every layer's digest, so layers may have to be read.
	RawConfig(ctx context.Context) ([]byte, error)
	// Platform returns the image's platform, in Go's names, from the index that it was chosen
	// from or else from its config.
	Platform() v1.Platform
}

// ID returns the image id, which is the digest of its config.
func ID(ctx context.Context, img Image) (digest.Digest, error) {
	config, err := img.RawConfig(ctx)
	return digest.FromBytes(config), err
}

// Event reports that a layer is about to be written, or was, and what that took.
type Event struct {
	// Layer counts from 1 to Layers.
	Layer, Layers int
	Title         string
	// Size is the layer's size in bytes: the blob's if the layer is passed on as it is stored,
	// and otherwise the tar's. It is 0 before the layer is written, if it is not known by then.
	Size int64
	Done bool
	// Work is what was done to the layer so far.
	Work Work
}

// Work is what was done to a layer, in bytes, and what was spared.
type Work struct {
	// Hashed bytes of its tar were read to know its digest, and Compressed ones went through the
	// compressor; Reused ones needed neither, or not both, since it was known what they give.
	Hashed, Compressed, Reused int64
	// Sent bytes went to the destination. Skipped ones it had already, and Mounted ones a
	// registry took from another of its repositories.
	Sent, Skipped, Mounted int64
}
