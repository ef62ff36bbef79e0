package image

import (
	"context"

	"github.com/varve-image/varve/tree"
)

// Files reads the headers of the image's layers, and returns the file system that they show.
func (img *Stored) Files(ctx context.Context, opts tree.OverlayOptions) (*tree.Overlay, error) {
	layers := make([]tree.LayerSource, len(img.DiffIDs))
	for i, l := range img.StoredLayers() {
		layers[i] = l
	}
	return tree.OpenOverlay(ctx, layers, opts)
}
