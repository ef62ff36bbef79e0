package ocijson

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/internal/arch"
	"github.com/varve-image/varve/internal/problems"
)

// maxChoices is how many platforms a message lists.
const maxChoices = 50

// Choose returns the position of the image for a platform in a list of manifests:
// the first that is for it (image-spec, image-index.md), preferring those of exactly
// its variant. A wanted platform without a variant accepts any; a list's only image
// without a platform is taken for any platform. If none fits, the error lists the
// choices. An empty platform takes the only image.
//
// It is the only rule for platforms: every choice from a list of images is made here.
func Choose(manifests []v1.Descriptor, want v1.Platform) (int, error) {
	if len(manifests) == 1 && manifests[0].Platform == nil {
		return 0, nil // its config says what it is for
	}
	if want.OS == "" && want.Architecture == "" {
		if len(manifests) == 1 {
			return 0, nil
		}
		return 0, fmt.Errorf("one platform has to be chosen; the index has %s", choices(manifests))
	}
	exactly := func(d v1.Descriptor) bool { return d.Platform != nil && SamePlatform(want, *d.Platform) }
	if i := slices.IndexFunc(manifests, exactly); i >= 0 {
		return i, nil
	}
	if i := slices.IndexFunc(manifests, func(d v1.Descriptor) bool { return Matches(want, d.Platform) }); i >= 0 {
		return i, nil
	}
	return 0, fmt.Errorf("0 images are for platform %s; the index has %s", PlatformText(&want), choices(manifests))
}

// choices lists the platforms of an index for a message.
func choices(manifests []v1.Descriptor) string {
	if len(manifests) == 0 {
		return "no images"
	}
	var list []string
	for _, d := range manifests {
		list = append(list, PlatformText(d.Platform))
	}
	if more := len(list) - maxChoices; more > 0 {
		list = append(list[:maxChoices], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(list, ", ")
}

// first holds the variants that architectures have if none is given.
var first = map[string]string{"amd64": "v1", "arm64": "v8"}

// Normal returns a platform with Go's name of the architecture (GOARCH): x86_64 is
// amd64, aarch64 is arm64, armhf is arm with the variant v7. GOARCH names and unknown
// names stay as they are.
func Normal(p v1.Platform) v1.Platform {
	if goarch, variant, ok := arch.Lookup(p.Architecture); ok {
		p.Architecture = goarch
		if p.Variant == "" {
			p.Variant = variant
		}
	}
	return p
}

// canonical returns the one form of a platform: amd64 is amd64/v1, arm64 is arm64/v8.
func canonical(p v1.Platform) v1.Platform {
	p = Normal(p)
	if p.Variant == "" {
		p.Variant = first[p.Architecture]
	}
	return p
}

// SamePlatform reports whether two platforms are the same, however they are written.
func SamePlatform(a, b v1.Platform) bool {
	a, b = canonical(a), canonical(b)
	return a.OS == b.OS && a.Architecture == b.Architecture && a.Variant == b.Variant
}

// Key returns a text that is equal for equal platforms, including the version of
// the operating system.
func Key(p v1.Platform) string {
	p = canonical(p)
	return PlatformText(&p)
}

// Matches reports whether an image is for the wanted platform. If that has no
// variant, any will do.
func Matches(want v1.Platform, got *v1.Platform) bool {
	if got == nil {
		return false
	}
	anyVariant := Normal(want).Variant == ""
	want, have := canonical(want), canonical(*got)
	return want.OS == have.OS && want.Architecture == have.Architecture && (anyVariant || want.Variant == have.Variant)
}

// CheckAnnounced compares the platform of an image in an index with the one in its
// config. What one of them leaves out is not a difference; nor is a platform that
// stands for something other than an image, such as an attestation.
func CheckAnnounced(index *v1.Platform, config v1.Platform) error {
	if index == nil || index.OS == "unknown" {
		return nil
	}
	same := func(a, b string) bool { return a == b || a == "" || b == "" }
	if a, b := Normal(*index), Normal(config); same(a.OS, b.OS) && same(a.Architecture, b.Architecture) && same(a.Variant, b.Variant) {
		return nil
	}
	return fmt.Errorf("it is listed for %s, and its config is for %s", PlatformText(index), PlatformText(&config))
}

// PlatformText returns a platform as OS/ARCH[/VARIANT], without anything that a
// terminal would obey.
func PlatformText(p *v1.Platform) string {
	if p == nil {
		return "an image that names no platform"
	}
	text := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		text += "/" + p.Variant
	}
	if p.OSVersion != "" {
		text += " (version " + p.OSVersion + ")"
	}
	return strings.Trim(strconv.QuoteToASCII(text), `"`)
}

// CheckPlatforms refuses what an index cannot hold: each of its manifests needs a
// platform that no other one has.
func CheckPlatforms(manifests []v1.Descriptor) error {
	if len(manifests) == 0 {
		return errors.New("there are no images to put into it")
	}
	var list problems.List
	seen := map[string]v1.Descriptor{}
	for i, d := range manifests {
		switch {
		case !IsManifest(d.MediaType) && !IsIndex(d.MediaType):
			list.Addf("entry %d, %s: type %q is not an image's", i+1, d.Digest, d.MediaType)
		case d.Platform == nil || d.Platform.OS == "" || d.Platform.Architecture == "":
			list.Addf("entry %d, %s: it has no platform", i+1, d.Digest)
		default:
			p := Key(*d.Platform)
			if other, ok := seen[p]; ok {
				list.Addf("entry %d, %s: %s has the platform %s too", i+1, d.Digest, other.Digest, PlatformText(d.Platform))
			}
			seen[p] = d
		}
	}
	return list.Err()
}

// ParsePlatform reads OS/ARCH or OS/ARCH/VARIANT. ARCH may be another name of a machine,
// as in Normal.
func ParsePlatform(text string) (v1.Platform, error) {
	parts := strings.Split(text, "/")
	if len(parts) < 2 || len(parts) > 3 || slices.ContainsFunc(parts, func(s string) bool { return !platformWord.MatchString(s) }) {
		return v1.Platform{}, fmt.Errorf("platform %q: expected OS/ARCH or OS/ARCH/VARIANT, such as linux/arm64", text)
	}
	p := v1.Platform{OS: parts[0], Architecture: parts[1]}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	return p, nil
}

var platformWord = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)
