package dockertools

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/base"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/internal/place/registry"
)

// PullArgs are pullImage's arguments, with the names that dockerTools has for them
// in JSON.
type PullArgs struct {
	ImageName      string `json:"imageName"`
	ImageDigest    string `json:"imageDigest"`
	Hash           string `json:"hash,omitempty"`
	SHA256         string `json:"sha256,omitempty"`
	FinalImageName string `json:"finalImageName"`
	FinalImageTag  string `json:"finalImageTag"`
}

// NewPullArgs returns the name arguments of pullImage: the image's as in the reference, and
// its final ones, by default the same name and the tag in the reference, or latest.
func NewPullArgs(ref, finalName, finalTag string) (*PullArgs, error) {
	parsed, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return nil, inputErrorf("image reference %q: %w", ref, err)
	}
	name, _, _ := strings.Cut(ref, "@")
	p := &PullArgs{ImageName: name, FinalImageTag: "latest"}
	if tagged, ok := parsed.(reference.Tagged); ok {
		p.ImageName, p.FinalImageTag = strings.TrimSuffix(name, ":"+tagged.Tag()), tagged.Tag()
	}
	p.FinalImageName = p.ImageName
	if finalName != "" {
		p.FinalImageName = finalName
	}
	if finalTag != "" {
		p.FinalImageTag = finalTag
	}
	if _, _, err := image.SplitRepoTag(p.finalName()); err != nil {
		return nil, inputErrorf("final name: %w", err)
	}
	return p, nil
}

func (p *PullArgs) finalName() string { return p.FinalImageName + ":" + p.FinalImageTag }

// Nix returns the arguments as an attribute set.
func (p *PullArgs) Nix() string {
	var b strings.Builder
	b.WriteString("{\n")
	for _, a := range []struct{ name, value string }{
		{"imageName", p.ImageName}, {"imageDigest", p.ImageDigest}, {"hash", p.Hash}, {"sha256", p.SHA256},
		{"finalImageName", p.FinalImageName}, {"finalImageTag", p.FinalImageTag},
	} {
		if a.value != "" { // these values have no characters that are special in Nix
			fmt.Fprintf(&b, "  %s = \"%s\";\n", a.name, a.value)
		}
	}
	return b.String() + "}\n"
}

// Prefetch opens the wanted image of a registry, after bringing it into the cache of bases
// if there is one. key is the reference in the form of lockfile.Key.
func (t *Tools) Prefetch(ctx context.Context, bases *base.Resolver, key string, want place.Wanted) (*image.Stored, error) {
	opts, err := t.places().RegistryOptions(key)
	if err != nil {
		return nil, err
	}
	r, err := registry.Resolve(ctx, key, opts)
	if err != nil {
		return nil, err
	}
	d, err := r.Choose(ctx, want.Platform)
	if err != nil {
		return nil, asInput(err)
	}
	img, err := bases.Chosen(ctx, key, r.Name, d, want.Platform)
	if err != nil {
		return nil, fmt.Errorf("prefetch: %w", err)
	}
	return img.Stored, want.Check(r, img.Stored)
}

// Hash returns the hash of the archive that Pull writes for an image.
func (t *Tools) Hash(ctx context.Context, img *image.Stored, p *PullArgs) (digest.Digest, error) {
	sum := sha256.New()
	err := t.skopeo(ctx, sum, named(img, p.finalName()), "hashing ")
	return digest.NewDigest(digest.SHA256, sum), err
}
