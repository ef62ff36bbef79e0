package image

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// StoredMemo remembers what is in stored images, from one program to the next. It may forget
// anything at any time; what it returns is believed.
type StoredMemo interface {
	layer.BlobMemo
	// OpenListing opens what was kept under a key, or returns false.
	OpenListing(ctx context.Context, key digest.Digest) (io.ReadCloser, bool)
	// KeepListing keeps what write writes under a key, unless write fails.
	KeepListing(ctx context.Context, key digest.Digest, write func(io.Writer) error)
}

// Remember makes the image remember what its layers were verified to unpack to, and Files what
// they show. It must not be called while a layer is being read.
func (img *Stored) Remember(memo StoredMemo) {
	if memo == nil {
		return
	}
	img.memo = memo
	for _, l := range img.layers {
		if r, ok := l.(RememberedLayer); ok {
			r.Remember(memo)
		}
	}
}

// Remember makes an image remember as (*Stored).Remember does, if it is stored.
func Remember(img Image, memo StoredMemo) {
	if stored, ok := unwrap(img).(*Stored); ok {
		stored.Remember(memo)
	}
}

// Files reads the headers of the image's layers, and returns the file system that they show. It
// reads no layer if the memo has the files of these layers, all of which were verified once.
func (img *Stored) Files(ctx context.Context, opts tree.OverlayOptions) (*tree.Overlay, error) {
	layers := make([]tree.LayerSource, len(img.DiffIDs))
	for i, l := range img.StoredLayers() {
		layers[i] = l
	}
	if img.memo == nil || opts.Exact || opts.Below != nil {
		return tree.OpenOverlay(ctx, layers, opts)
	}
	key := img.listingKey()
	if found := img.listed(ctx, key, layers, opts); found != nil {
		return found, nil
	}
	opts.Lasting = true
	found, err := tree.OpenOverlay(ctx, layers, opts)
	if err != nil {
		return nil, err
	}
	img.memo.KeepListing(ctx, key, found.WriteListing)
	return found, nil
}

// listingKey identifies what the layers show: their tars decide it, however they are compressed.
func (img *Stored) listingKey() digest.Digest {
	sum := sha256.New()
	fmt.Fprintf(sum, "varve files %s %d\n", tree.ListingVersion, len(img.layers))
	for _, l := range img.layers {
		fmt.Fprintf(sum, "%s\n", l.TarDigest())
	}
	return digest.NewDigest(digest.SHA256, sum)
}

// listed returns what the layers show, as the memo has it; nil if they have to be read.
func (img *Stored) listed(ctx context.Context, key digest.Digest, layers []tree.LayerSource, opts tree.OverlayOptions) *tree.Overlay {
	for _, l := range img.layers {
		if r, ok := l.(RememberedLayer); !ok || !r.Verified() {
			return nil
		}
	}
	r, ok := img.memo.OpenListing(ctx, key)
	if !ok {
		return nil
	}
	defer r.Close()
	found, err := tree.OpenListing(ctx, r, layers, opts)
	if err != nil {
		return nil // reading the layers shows what is wrong
	}
	return found
}
