package dockertools

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/nixstore"
	"github.com/varve-image/varve/internal/place/dockerarchive"
	"github.com/varve-image/varve/layer"
)

// HashError says that an image's archive has another hash than it should.
type HashError struct{ *layer.DigestError }

func (e *HashError) Unwrap() error { return e.DigestError }

// PullOptions says how pullImage writes an image.
type PullOptions struct {
	// Ref is the image's reference, for messages.
	Ref string
	// Name is the image's name in the archive, NAME:TAG.
	Name string
	// Output is the file that is written.
	Output string
	// Hash, if not empty, is the hash that the file must have.
	Hash digest.Digest
}

// Pull writes the archive that pullImage makes of an image: byte for byte the one that skopeo
// copy writes. An archive with another hash than it should have is a *HashError, and not
// written.
func (t *Tools) Pull(ctx context.Context, img *image.Stored, o PullOptions) error {
	t.places().WarnOdd(registryPrefix+o.Ref, img)
	sum := sha256.New()
	err := t.places().Output(o.Output)(func(w io.Writer) error {
		if err := t.skopeo(ctx, io.MultiWriter(w, sum), named(img, o.Name), "pulling "); err != nil {
			return err
		}
		if got := digest.NewDigest(digest.SHA256, sum); o.Hash != "" && got != o.Hash {
			return &HashError{&layer.DigestError{What: fmt.Sprintf("file %q", o.Output), Want: o.Hash, Got: got}}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("pull %q: %w", o.Ref, err)
	}
	t.opts.info("%s: image %s, hash %s", o.Output, o.Name, SRI(digest.NewDigest(digest.SHA256, sum)))
	return nil
}

// named returns the image with the name NAME:TAG.
func named(img *image.Stored, name string) image.Named {
	return image.Named{Image: img, Names: image.Names{RepoTags: []string{name}}}
}

// skopeo writes the archive of an image. does is the verb for its progress.
func (t *Tools) skopeo(ctx context.Context, w io.Writer, img image.Named, does string) error {
	observe, done := t.opts.progress(ctx, len(img.Layers()), does+img.Repository())
	defer done()
	return dockerarchive.WriteSkopeo(ctx, w, img, dockerarchive.Options{Observe: observe, TempDir: t.places().TempDir})
}

// ParseSRI reads a hash as Nix writes it (W3C Subresource Integrity); empty means none.
func ParseSRI(text string) (digest.Digest, error) {
	if text == "" {
		return "", nil
	}
	data, ok := strings.CutPrefix(text, "sha256-")
	raw, err := base64.StdEncoding.DecodeString(data)
	if !ok || err != nil || len(raw) != sha256.Size {
		return "", inputErrorf("%q: expected sha256- and 44 characters of base64", text)
	}
	return digest.NewDigestFromBytes(digest.SHA256, raw), nil
}

// SRI writes a SHA-256 as Nix does.
func SRI(d digest.Digest) string { return "sha256-" + base64.StdEncoding.EncodeToString(raw(d)) }

// Base32 writes a SHA-256 as Nix used to.
func Base32(d digest.Digest) string { return nixstore.Base32(raw(d)) }

func raw(d digest.Digest) []byte {
	sum, _ := hex.DecodeString(d.Encoded())
	return sum
}
