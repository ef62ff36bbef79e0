package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/varve-image/varve/internal/base"
	"github.com/varve-image/varve/internal/base/lockfile"
	"github.com/varve-image/varve/internal/cmdline"
	"github.com/varve-image/varve/internal/dockertools"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/spec"
)

type prefetchOptions struct {
	os, arch, finalName, finalTag, hashFormat string
	json, lock                                bool
}

// hashFormats are the forms of a hash: hash = "sha256-…" and sha256 = "…".
var hashFormats = []string{"sri", "base32"}

func newPrefetch(e *environment) *cobra.Command {
	c := newCommand(e)
	o := &prefetchOptions{}
	cmd := &cobra.Command{
		Use:   "prefetch HOST/NAME[:TAG][@DIGEST]",
		Short: "Print the arguments of nixpkgs' pullImage for an image, as nix-prefetch-docker does",
		Long: `prefetch looks an image up, fetches it, and prints the arguments that nixpkgs' pullImage
needs for it: its digest, and the hash of the archive that pull writes. The digest is
the one of the image for the platform, so that it means the same on every machine. The
image is kept in the cache.`,
		Example: `  varve prefetch debian:12 --arch arm64 >debian.nix
  varve prefetch docker.io/library/debian:12 --json
  varve prefetch debian:12 --lock        an entry for varve.lock`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cmdline.CompleteArgs(false, completeLocked),
		RunE: c.run(func(ctx context.Context, args []string) error {
			return runPrefetch(ctx, c, o, strings.TrimPrefix(args[0], "docker://"))
		}),
	}
	imageGroup.Add(cmd, func(f *pflag.FlagSet) {
		f.StringVar(&o.os, "os", "", "`OS`: operating system of the image")
		cmdline.ShowDefault(f, "os", "linux")
		f.StringVar(&o.arch, "arch", "", "`ARCH`: architecture of the image, as Go names it")
		cmdline.ShowDefault(f, "arch", "this machine's")
		cmdline.Choose(f, "arch", spec.Choices("architecture"))
		f.StringVar(&o.finalName, "final-image-name", "", "`NAME`: name of the image in the archive")
		cmdline.ShowDefault(f, "final-image-name", "its own")
		f.StringVar(&o.finalTag, "final-image-tag", "", "`TAG`: tag of the image in the archive")
		cmdline.ShowDefault(f, "final-image-tag", "its own, or latest")
	})
	c.registry.registerPlatform(cmd, "`OS/ARCH[/VARIANT]`: platform of the image, instead of --os and --arch", "linux and this machine's architecture")
	outputGroup.Add(cmd, func(f *pflag.FlagSet) {
		f.StringVar(&o.hashFormat, "hash-format", hashFormats[0], "`HOW`: whether the hash is written as hash or as sha256")
		cmdline.Choose(f, "hash-format", hashFormats)
		f.BoolVar(&o.json, "json", false, "print JSON instead of Nix")
		f.BoolVar(&o.lock, "lock", false, "print what varve.lock says of the image, for all platforms")
	})
	c.registry.register(cmd)
	c.cache.register(cmd)
	c.limits.register(cmd)
	return cmd
}

func runPrefetch(ctx context.Context, c *command, o *prefetchOptions, ref string) error {
	switch {
	case o.json && o.lock:
		return cmdline.Usage(errors.New("--json and --lock exclude each other: a lock entry is JSON"))
	case !slices.Contains(hashFormats, o.hashFormat):
		return cmdline.Usage(fmt.Errorf("--hash-format %q: expected %s", o.hashFormat, cmdline.Alternatives(hashFormats)))
	}
	key, err := lockfile.Key(ref)
	if err != nil {
		return cmdline.Usage(err)
	}
	if o.lock {
		return c.printLock(ctx, key)
	}
	want, err := o.wanted(c)
	if err != nil {
		return err
	}
	p, err := dockertools.NewPullArgs(ref, o.finalName, o.finalTag)
	if err != nil {
		return err
	}
	t := c.dockerTools()
	existing, err := t.Prefetch(ctx, c.bases(), key, want)
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
	c.ui.Info("%s for %s is %s, hash %s, in base 32 %s", key, ocijson.PlatformText(&own), p.ImageDigest, sri, base32)
	if !o.json {
		return c.streams.Print(p.Nix())
	}
	return c.streams.PrintJSON(json.MarshalIndent(p, "", "  "))
}

// wanted combines --os, --arch and --platform.
func (o *prefetchOptions) wanted(c *command) (place.Wanted, error) {
	want, err := c.registry.wanted()
	if err != nil || o.os == "" && o.arch == "" {
		return want, err
	}
	if want.Only {
		return want, cmdline.Usage(errors.New("--platform says what --os and --arch do: give one or the others"))
	}
	p, err := ocijson.ParsePlatform(cmp.Or(o.os, want.Platform.OS) + "/" + cmp.Or(o.arch, want.Platform.Architecture))
	return place.Wanted{Platform: ocijson.Normal(p), Only: true}, cmdline.Usage(err)
}

// printLock prints a lock file with one image.
func (c *command) printLock(ctx context.Context, key string) error {
	img, err := base.LookUp(ctx, key, c.places())
	if err != nil {
		return err
	}
	data, err := (&lockfile.File{Images: map[string]lockfile.Image{key: img}}).Marshal()
	if err != nil {
		return err
	}
	return c.streams.Print(string(data))
}
