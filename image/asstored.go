package image

import (
	"context"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// AsStored returns an image as if it were stored in a place, so that code which reads images can
// read one that is yet to be written. It reads every layer for its digest.
func AsStored(ctx context.Context, img Image) (*Stored, error) {
	if e, ok := unwrap(img).(*Stored); ok {
		return e, nil
	}
	config, err := img.RawConfig(ctx)
	if err != nil {
		return nil, err
	}
	_, ids, err := ParseConfig(config)
	if err != nil {
		return nil, err
	}
	if n := len(img.Layers()); n != len(ids) {
		return nil, fmt.Errorf("the config has %d diff_ids for %d layers", len(ids), n)
	}
	var layers []StoredLayer
	for i, l := range img.Layers() {
		layers = append(layers, &made{Layer: l, id: ids[i]})
	}
	return NewStored(config, layers)
}

// made is a layer that is stored nowhere: its tar is written when it is read.
type made struct {
	Layer
	id digest.Digest
}

func (m *made) TarDigest() digest.Digest { return m.id }

func (m *made) Stored() v1.Descriptor { return v1.Descriptor{} }

func (m *made) OpenStored(ctx context.Context) (io.ReadCloser, error) { return m.Open(ctx) }

// Open reads what Write writes. Closing it early ends the writing.
func (m *made) Open(ctx context.Context) (io.ReadCloser, error) {
	r, w := io.Pipe()
	go func() { w.CloseWithError(m.Write(ctx, w)) }()
	return r, nil
}
