package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"github.com/varve-image/varve/internal/base/lockfile"
	"github.com/varve-image/varve/internal/dockertools"
	"github.com/varve-image/varve/internal/ocijson"
)

type prefetchOptions struct {
	os, arch, finalName, finalTag, hashFormat string
	json, lock                                bool
}

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
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runPrefetch(cmd.Context(), g, o, strings.TrimPrefix(args[0], "docker://"))
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.os, "os", "", "the image's operating system (default linux)")
	f.StringVar(&o.arch, "arch", "", "its architecture (default: this machine's)")
	f.StringVar(&o.finalName, "final-image-name", "", "`name` of the image in the archive (default: its name)")
	f.StringVar(&o.finalTag, "final-image-tag", "", "`tag` of the image in the archive (default: its tag, or latest)")
	f.StringVar(&o.hashFormat, "hash-format", "sri", "sri (hash = \"sha256-…\") or base32 (sha256 = \"…\")")
	f.BoolVar(&o.json, "json", false, "print JSON")
	f.BoolVar(&o.lock, "lock", false, "print what varve.lock says of the image, for all platforms")
	return cmd
}

func runPrefetch(ctx context.Context, g *global, o *prefetchOptions, ref string) error {
	switch {
	case o.json && o.lock:
		return usageError(errors.New("--json and --lock exclude each other: a lock entry is JSON"))
	case o.hashFormat != "sri" && o.hashFormat != "base32":
		return usageError(fmt.Errorf("--hash-format %q: expected sri or base32", o.hashFormat))
	}
	key, err := lockfile.Key(ref)
	if err != nil {
		return usageError(err)
	}
	if o.lock {
		return g.printLock(ctx, key)
	}
	platform, exact, err := o.platform(g)
	if err != nil {
		return err
	}
	p, err := dockertools.NewPullArgs(ref, o.finalName, o.finalTag)
	if err != nil {
		return err
	}
	t := g.dockerTools()
	existing, err := t.Prefetch(ctx, g.bases(), key, platform, exact)
	if err != nil {
		return err
	}
	sum, err := t.Hash(ctx, existing, p)
	if err != nil {
		return fmt.Errorf("prefetch %q: %w", ref, err)
	}
	p.ImageDigest = existing.ManifestDescriptor.Digest.String()
	sri, base32 := dockertools.SRI(sum), dockertools.Base32(sum)
	if p.Hash = sri; o.hashFormat == "base32" {
		p.Hash, p.SHA256 = "", base32
	}
	own := existing.ConfigPlatform()
	g.ui.Info("%s for %s is %s, hash %s, in base 32 %s", key, ocijson.PlatformText(&own), p.ImageDigest, sri, base32)
	if !o.json {
		return g.print(p.Nix())
	}
	data, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	return g.print(string(data) + "\n")
}

// platform puts --os, --arch and --platform together. It is exact where one of them is given.
func (o *prefetchOptions) platform(g *global) (p v1.Platform, exact bool, err error) {
	p, err = g.registry.choice()
	exact = g.registry.platform != ""
	if err != nil || o.os == "" && o.arch == "" {
		return p, exact, err
	}
	if exact {
		return p, exact, usageError(errors.New("--platform says what --os and --arch do: give one or the others"))
	}
	if o.os != "" {
		p.OS = o.os
	}
	if o.arch != "" {
		p.Architecture = o.arch
	}
	p, err = ocijson.ParsePlatform(p.OS + "/" + p.Architecture)
	return ocijson.Normal(p), true, usageError(err)
}

// printLock prints a lock file with one image.
func (g *global) printLock(ctx context.Context, key string) error {
	img, err := g.lookUp(ctx, key)
	if err != nil {
		return err
	}
	data, err := (&lockfile.File{Images: map[string]lockfile.Image{key: img}}).Marshal()
	if err != nil {
		return err
	}
	return g.print(string(data))
}
