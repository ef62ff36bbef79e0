package image

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/distribution/reference"
)

// Names are the names of an image in a place; there may be none.
type Names struct {
	// RepoTags are NAME:TAG each; NAME may include a registry. NAME alone gets a tag made of the
	// image id.
	RepoTags []string
	// RefNames are names that are not NAME:TAG, such as a tag alone: only layouts can hold them.
	// A single one replaces the tag of a single NAME:TAG.
	RefNames []string
}

// Named is an image with the names that it is written under.
type Named struct {
	Image
	Names
}

// Tagged returns the image's names, each of RepoTags with a tag. An image id that is part of
// a name is computed.
func (n Named) Tagged(ctx context.Context) (Names, error) {
	return n.tagged(func() ([]byte, error) { return n.RawConfig(ctx) })
}

// tagged completes RepoTags. content returns the bytes that a missing tag is made of.
func (n Names) tagged(content func() ([]byte, error)) (Names, error) {
	n.RepoTags = slices.Clone(n.RepoTags)
	for i, name := range n.RepoTags {
		if hasTag(name) {
			continue
		}
		data, err := content()
		if err != nil {
			return Names{}, err
		}
		sum := sha256.Sum256(data)
		n.RepoTags[i] = name + ":" + tagEncoding.EncodeToString(sum[:20])
	}
	return n, nil
}

// hasTag reports whether a name ends in a tag. A colon before a slash is a port's.
func hasTag(name string) bool {
	return strings.Contains(name[strings.LastIndexByte(name, '/')+1:], ":")
}

// Renamed returns the names with repoTag instead of the first of RepoTags.
func (n Names) Renamed(repoTag string) Names {
	n.RepoTags = append([]string{repoTag}, n.RepoTags[min(1, len(n.RepoTags)):]...)
	return n
}

// Repository returns the first of RepoTags without its tag, or "" if there are none.
func (n Names) Repository() string {
	if len(n.RepoTags) == 0 {
		return ""
	}
	name := n.RepoTags[0]
	if !hasTag(name) {
		return name
	}
	return name[:strings.LastIndexByte(name, ':')]
}

// Tag returns the tag of a name, or "" if it has none or is not a name.
func Tag(name string) string {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return ""
	}
	tagged, ok := named.(reference.Tagged)
	if !ok {
		return ""
	}
	return tagged.Tag()
}

// References returns RepoTags as engines spell them out, with the registry that short names
// stand for. All have tags (see Named.Tagged).
func (n Names) References() ([]reference.NamedTagged, error) {
	var refs []reference.NamedTagged
	for _, name := range n.RepoTags {
		ref, err := parseRepoTag(name)
		if err != nil {
			return nil, err
		}
		refs = append(refs, ref)
	}
	return refs, nil
}

func parseRepoTag(repoTag string) (reference.NamedTagged, error) {
	named, err := reference.ParseNormalizedNamed(repoTag)
	if err != nil {
		return nil, fmt.Errorf("image name %q: %w", repoTag, err)
	}
	tagged, ok := named.(reference.NamedTagged)
	if !ok {
		return nil, fmt.Errorf("image name %q: it has no tag", repoTag)
	}
	return tagged, nil
}

// tagEncoding is base32 in Nix's alphabet.
var tagEncoding = base32.NewEncoding("0123456789abcdfghijklmnpqrsvwxyz").WithPadding(base32.NoPadding)

// SplitRepoTag splits NAME:TAG. NAME may include a registry and its port. It has to be a name
// that engines accept: in lower case, in the grammar of references.
func SplitRepoTag(ref string) (name, tag string, err error) {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return "", "", fmt.Errorf("image name %q: %w", ref, err)
	}
	tagged, ok := named.(reference.Tagged)
	if _, digested := named.(reference.Digested); !ok || digested {
		return "", "", fmt.Errorf("image name %q is not NAME:TAG", ref)
	}
	return strings.TrimSuffix(ref, ":"+tagged.Tag()), tagged.Tag(), nil
}

// NamesFor returns the names that a copy keeps of an image that was asked for by a name, each
// once. A copy keeps all names, unless the image was asked for by a NAME:TAG, which is then the
// only one, or by one of RefNames, which is then kept beside all RepoTags.
func NamesFor(names []string, asked string) (kept Names) {
	seen, seenRef := map[string]bool{}, map[string]bool{}
	for _, n := range names {
		full := fullName(n)
		_, _, err := SplitRepoTag(n)
		switch {
		case err != nil:
			if IsRefName(n) && !strings.Contains(n, "@") && !seenRef[n] {
				seenRef[n] = true
				kept.RefNames = append(kept.RefNames, n)
			}
		case seen[full]:
		case n == asked || full == fullName(asked):
			return Names{RepoTags: []string{n}}
		default:
			seen[full] = true
			kept.RepoTags = append(kept.RepoTags, n)
		}
	}
	if seenRef[asked] {
		kept.RefNames = []string{asked}
	}
	return kept
}

// refNames matches the name of a reference in a layout (image-spec, annotations.md, and what
// else a tag may be).
var refNames = regexp.MustCompile(`^[A-Za-z0-9._:@+/-]{1,255}$`)

// IsRefName reports whether text can be the name of an image in a layout.
func IsRefName(text string) bool { return refNames.MatchString(text) }

// InPlaceOfTag returns the one name that an image has in a layout instead of the tag of its one
// NAME:TAG, or "" where there is no such name or more than one.
func (n Names) InPlaceOfTag() string {
	if len(n.RepoTags) == 1 && len(n.RefNames) == 1 {
		return n.RefNames[0]
	}
	return ""
}

// unwrap returns the image without names.
func unwrap(img Image) Image {
	for {
		n, ok := img.(Named)
		if !ok {
			return img
		}
		img = n.Image
	}
}
