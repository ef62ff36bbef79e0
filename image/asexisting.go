package image

import (
	"context"
	"io"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Existing returns the image as if it were there already, so that what reads
// images can read one that is yet to be written. It reads every layer for its
// digest.
func (img *Image) Existing(ctx context.Context) (*Existing, error) {
	config, err := img.ConfigJSON(ctx)
	if err != nil {
		return nil, err
	}
	name, err := img.RepoTag(ctx)
	if err != nil {
		return nil, err
	}
	e := &Existing{Names: append([]string{name}, img.MoreNames...), ConfigJSON: config}
	if e.Config, e.DiffIDs, err = ParseConfig(config); err != nil {
		return nil, err
	}
	for i, l := range img.Layers {
		e.Layers = append(e.Layers, &made{Layer: l, id: e.DiffIDs[i]})
	}
	return e, nil
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
