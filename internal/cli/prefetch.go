package cli

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/distribution/reference"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/base"
	"github.com/varve-image/varve/internal/base/lockfile"
	"github.com/varve-image/varve/internal/nixstore"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/internal/place/dockerarchive"
	"github.com/varve-image/varve/internal/place/registry"
	"github.com/varve-image/varve/spec"
)

type prefetchOptions struct {
	os, arch, finalName, finalTag, hashFormat string
	json, lock                                bool
}

// hashFormats are the forms of a hash: hash = "sha256-…" and sha256 = "…".
var hashFormats = []string{"sri", "base32"}

func newPrefetch(g *global) *cobra.Command {
	o := &prefetchOptions{}
	cmd := &cobra.Command{
		Use:   "prefetch HOST/NAME[:TAG][@DIGEST]",
		Short: "Print the arguments of nixpkgs' pullImage for an image, as nix-prefetch-docker does",
		Long: `prefetch looks an image up, fetches it and prints the arguments that nixpkgs' pullImage
needs for it: its digest, and the hash of the archive that pull writes. The digest is
that of the image for the platform, so that it means the same on every machine. What
is fetched goes into the cache.`,
		Example: `  varve prefetch debian:12 --arch arm64 >debian.nix
  varve prefetch docker.io/library/debian:12 --json
  varve prefetch debian:12 --lock        an entry for varve.lock`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeArgs(false, completeLocked),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runPrefetch(cmd.Context(), g, o, strings.TrimPrefix(args[0], "docker://"))
		},
	}
	imageGroup.add(cmd, func(f *pflag.FlagSet) {
		f.StringVar(&o.os, "os", "", "`OS`: operating system of the image")
		showDefault(f, "os", "linux")
		f.StringVar(&o.arch, "arch", "", "`ARCH`: architecture of the image, as Go names it")
		showDefault(f, "arch", "this machine's")
		choose(f, "arch", spec.Choices("architecture"))
		f.StringVar(&o.finalName, "final-image-name", "", "`NAME`: name of the image in the archive")
		showDefault(f, "final-image-name", "its own")
		f.StringVar(&o.finalTag, "final-image-tag", "", "`TAG`: tag of the image in the archive")
		showDefault(f, "final-image-tag", "its own, or latest")
	})
	g.registry.registerPlatform(cmd, "`OS/ARCH[/VARIANT]`: platform of the image, instead of --os and --arch", "linux and this machine's architecture")
	outputGroup.add(cmd, func(f *pflag.FlagSet) {
		f.StringVar(&o.hashFormat, "hash-format", hashFormats[0], "`HOW`: whether the hash is written as hash or as sha256")
		choose(f, "hash-format", hashFormats)
		f.BoolVar(&o.json, "json", false, "print JSON instead of Nix")
		f.BoolVar(&o.lock, "lock", false, "print what varve.lock says of the image, for all platforms")
	})
	g.registry.register(cmd)
	g.cache.register(cmd)
	g.limits.register(cmd)
	return cmd
}

// prefetched are pullImage's arguments; the first letters of their names are of
// the case that dockerTools has.
type prefetched struct {
	ImageName      string `json:"imageName"`
	ImageDigest    string `json:"imageDigest"`
	Hash           string `json:"hash,omitempty"`
	SHA256         string `json:"sha256,omitempty"`
	FinalImageName string `json:"finalImageName"`
	FinalImageTag  string `json:"finalImageTag"`
}

func (p prefetched) nix() string {
	var b strings.Builder
	b.WriteString("{\n")
	for _, a := range []struct{ name, value string }{
		{"imageName", p.ImageName}, {"imageDigest", p.ImageDigest}, {"hash", p.Hash}, {"sha256", p.SHA256},
		{"finalImageName", p.FinalImageName}, {"finalImageTag", p.FinalImageTag},
	} {
		if a.value != "" { // nothing in these values means anything to Nix
			fmt.Fprintf(&b, "  %s = \"%s\";\n", a.name, a.value)
		}
	}
	return b.String() + "}\n"
}

func runPrefetch(ctx context.Context, g *global, o *prefetchOptions, ref string) error {
	switch {
	case o.json && o.lock:
		return usageError(errors.New("--json and --lock exclude each other: a lock entry is JSON"))
	case !slices.Contains(hashFormats, o.hashFormat):
		return usageError(fmt.Errorf("--hash-format %q: expected %s", o.hashFormat, alternatives(hashFormats)))
	}
	key, err := lockfile.Key(ref)
	if err != nil {
		return usageError(err)
	}
	if o.lock {
		return g.printLock(ctx, key)
	}
	platform, err := o.platform(g)
	if err != nil {
		return err
	}
	p, err := o.names(ref)
	if err != nil {
		return err
	}
	existing, err := g.prefetch(ctx, key, platform)
	if err != nil {
		return err
	}
	sum, err := g.skopeoSum(ctx, existing, p)
	if err != nil {
		return fmt.Errorf("prefetch %q: %w", ref, err)
	}
	p.ImageDigest = existing.ManifestDescriptor.Digest.String()
	sri, base32 := "sha256-"+base64.StdEncoding.EncodeToString(sum), nixstore.Base32(sum)
	if p.Hash = sri; o.hashFormat == "base32" {
		p.Hash, p.SHA256 = "", base32
	}
	own := existing.ConfigPlatform()
	g.ui.Info("%s for %s is %s, hash %s, in base 32 %s", key, ocijson.PlatformText(&own), p.ImageDigest, sri, base32)
	if !o.json {
		return g.print(p.nix())
	}
	data, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	return g.print(string(data) + "\n")
}

// platform puts --os, --arch and --platform together.
func (o *prefetchOptions) platform(g *global) (v1.Platform, error) {
	p, err := g.registry.choice()
	if err != nil || o.os == "" && o.arch == "" {
		return p, err
	}
	if g.registry.platform != "" {
		return p, usageError(errors.New("--platform says what --os and --arch do: give one or the others"))
	}
	if o.os != "" {
		p.OS = o.os
	}
	if o.arch != "" {
		p.Architecture = o.arch
	}
	g.registry.platform = p.OS + "/" + p.Architecture
	return g.registry.choice()
}

// names are the image's name as it was given, and those that it gets.
func (o *prefetchOptions) names(ref string) (*prefetched, error) {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return nil, usageError(fmt.Errorf("image reference %q: %w", ref, err))
	}
	name, _, _ := strings.Cut(ref, "@")
	p := &prefetched{ImageName: name, FinalImageTag: "latest"}
	if tagged, ok := named.(reference.Tagged); ok {
		p.ImageName, p.FinalImageTag = strings.TrimSuffix(name, ":"+tagged.Tag()), tagged.Tag()
	}
	p.FinalImageName = p.ImageName
	if o.finalName != "" {
		p.FinalImageName = o.finalName
	}
	if o.finalTag != "" {
		p.FinalImageTag = o.finalTag
	}
	if _, _, err := image.SplitRepoTag(p.FinalImageName + ":" + p.FinalImageTag); err != nil {
		return nil, usageError(fmt.Errorf("final name: %w", err))
	}
	return p, nil
}

// prefetch opens the image for a platform, after bringing it into the cache if
// there is one. key is the reference in the form of lockfile.Key.
func (g *global) prefetch(ctx context.Context, key string, platform v1.Platform) (*image.Stored, error) {
	opts, err := g.registryOptions(key)
	if err != nil {
		return nil, err
	}
	r, err := registry.Resolve(ctx, key, opts)
	if err != nil {
		return nil, err
	}
	d, err := r.Choose(ctx, platform)
	if err != nil {
		return nil, usageError(err)
	}
	img, err := g.bases().Chosen(ctx, key, r.Name, d, platform)
	if err != nil {
		return nil, fmt.Errorf("prefetch: %w", err)
	}
	want, err := g.registry.wanted()
	if err != nil {
		return nil, err
	}
	return img.Stored, want.Check(r, img.Stored)
}

// skopeoSum is the SHA-256 of the archive that pull writes.
func (g *global) skopeoSum(ctx context.Context, existing *image.Stored, p *prefetched) ([]byte, error) {
	img := image.Named{Image: existing, Names: image.Names{RepoTags: []string{p.FinalImageName + ":" + p.FinalImageTag}}}
	sum := sha256.New()
	task := g.ui.Progress(ctx, len(img.Layers()), "hashing "+p.ImageName)
	defer task.Finish()
	err := dockerarchive.WriteSkopeo(ctx, sum, img, dockerarchive.Options{Observe: observe(task), TempDir: g.tempDir()})
	return sum.Sum(nil), err
}

// printLock prints a lock file with one image.
func (g *global) printLock(ctx context.Context, key string) error {
	img, err := base.LookUp(ctx, key, g.places())
	if err != nil {
		return err
	}
	data, err := (&lockfile.File{Images: map[string]lockfile.Image{key: img}}).Marshal()
	if err != nil {
		return err
	}
	return g.print(string(data))
}
