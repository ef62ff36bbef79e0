package ocijson

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/internal/problems"
)

// maxChoices is how many platforms a message lists.
const maxChoices = 50

// Choose returns the one image of an index for a platform. One without a
// variant is for any, if an image of exactly this platform or a single one of
// another variant is there; an index's only image that names no platform is taken
// for any. None or several are an error that lists the
// choices. An empty platform takes the only image.
func Choose(manifests []v1.Descriptor, want v1.Platform) (v1.Descriptor, error) {
	if len(manifests) == 1 && manifests[0].Platform == nil {
		return manifests[0], nil // what it is for its config says
	}
	found := slices.Clone(manifests)
	anything := want.OS == "" && want.Architecture == ""
	if !anything {
		found = slices.DeleteFunc(found, func(d v1.Descriptor) bool { return !Matches(want, d.Platform) })
	}
	if len(found) > 1 && !anything {
		exact := slices.Clone(found)
		exact = slices.DeleteFunc(exact, func(d v1.Descriptor) bool { return d.Platform.Variant != want.Variant })
		if len(exact) > 0 {
			found = exact
		}
	}
	if len(found) == 1 {
		return found[0], nil
	}
	what := "one platform has to be chosen"
	if !anything {
		what = fmt.Sprintf("%d images are for platform %s", len(found), PlatformText(&want))
	}
	return v1.Descriptor{}, fmt.Errorf("%s; the index has %s", what, choices(manifests))
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

// Matches tells whether an image is for the platform that is wanted. Without a
// variant any will do.
func Matches(want v1.Platform, got *v1.Platform) bool {
	return got != nil && want.OS == got.OS && want.Architecture == got.Architecture &&
		(want.Variant == "" || want.Variant == got.Variant ||
			want.Architecture == "arm64" && want.Variant == "v8" && got.Variant == "")
}

// CheckAnnounced compares what an index says that an image is for with what its
// config says. What one of them leaves out is no difference; nor is what stands for
// something that is no image, such as an attestation.
func CheckAnnounced(index *v1.Platform, config v1.Platform) error {
	same := func(a, b string) bool { return a == b || a == "" || b == "" }
	if index == nil || index.OS == "unknown" ||
		same(index.OS, config.OS) && same(index.Architecture, config.Architecture) && same(index.Variant, config.Variant) {
		return nil
	}
	return fmt.Errorf("it is listed for %s, and its config is for %s", PlatformText(index), PlatformText(&config))
}

// PlatformText is a platform as OS/ARCH[/VARIANT], without anything that a
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

// CheckPlatforms refuses what an index cannot hold: each of its manifests
// needs a platform that no other one has.
func CheckPlatforms(manifests []v1.Descriptor) error {
	if len(manifests) == 0 {
		return errors.New("there are no images to put into it")
	}
	var list problems.List
	seen := map[string]v1.Descriptor{}
	for i, d := range manifests {
		switch {
		case !IsManifest(d.MediaType) && !IsIndex(d.MediaType):
			list.Addf("entry %d, %s: type %q is no image's", i+1, d.Digest, d.MediaType)
		case d.Platform == nil || d.Platform.OS == "" || d.Platform.Architecture == "":
			list.Addf("entry %d, %s: it has no platform", i+1, d.Digest)
		default:
			text := PlatformText(d.Platform)
			if other, ok := seen[text]; ok {
				list.Addf("entry %d, %s: %s has the platform %s too", i+1, d.Digest, other.Digest, text)
			}
			seen[text] = d
		}
	}
	return list.Err()
}

// ParsePlatform reads OS/ARCH or OS/ARCH/VARIANT.
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
