package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/imagetest"
	"github.com/varve-image/varve/internal/place/dockerarchive"
	"github.com/varve-image/varve/internal/testtools"
)

// TestSuite: engines keep images as archives do. Not all images are tried, as
// each takes seconds; Docker cannot save one without layers.
func TestSuite(t *testing.T) {
	testtools.NeedRoot(t)
	for name, start := range realEngines {
		t.Run(name, func(t *testing.T) {
			e := start(t)
			places := 0
			imagetest.Run(t, func(t *testing.T) imagetest.Place {
				places++
				return place(e, t.TempDir(), fmt.Sprintf("example.org/varve-suite/%x:%d", name, places))
			}, "repeated layers", "another's config")
		})
	}
}

// place is what an engine has under a name.
func place(e Engine, temp, name string) imagetest.Place {
	open := func(ctx context.Context) (*dockerarchive.Archive, error) {
		r, err := Open(ctx, e, name, "")
		if err != nil {
			return nil, err
		}
		a, err := dockerarchive.Read(ctx, name, r, temp)
		return a, errors.Join(err, r.Close())
	}
	return imagetest.Place{
		Name: name,
		Target: &Target{
			Engine: e, RepoTag: name,
			Archive: func(img image.Named, observe func(image.Event)) Archive {
				a := archiveOf(img)
				a.Write = func(ctx context.Context, w io.Writer, form Form) (digest.Digest, error) {
					return writeAs(ctx, w, img, form, observe)
				}
				return a
			},
		},
		Open: func(ctx context.Context) (image.Source, error) {
			a, err := open(ctx)
			if err != nil {
				return nil, err
			}
			return a, nil
		},
		// The image as an archive that varve makes of it, under one name.
		Bytes: func(t testing.TB) string {
			a, err := open(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			stored, err := a.Open(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			img := image.Named{Image: stored, Names: image.Names{RepoTags: []string{"x:1"}}}
			var b bytes.Buffer
			if err := dockerarchive.Write(t.Context(), &b, img, dockerarchive.Options{}); err != nil {
				t.Fatal(err)
			}
			return b.String()
		},
	}
}
