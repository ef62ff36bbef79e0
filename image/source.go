package image

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/layer"
)

// Source is a place that images come from: an archive, a layout, a repository of
// a registry. What an engine gives is an archive.
type Source interface {
	// String names the place in messages.
	String() string
	// List returns what images there are, in the order of the place.
	List() []Listed
	// Open reads the manifest and the config of the image at an index of List.
	// Its layers can be read until Close.
	Open(ctx context.Context, i int) (*Existing, error)
	Close() error
}

// Listed is an image as its place lists it.
type Listed struct {
	// Names are the names that it has there.
	Names []string
	// ID tells what is listed twice: an image has one ID in its place.
	ID string
	// Descriptor is the manifest's; it is empty where there is none.
	Descriptor v1.Descriptor
	// Index is the digest of the index that it is in, as one of several for
	// platforms; empty for none.
	Index digest.Digest
}

// maxNamed is how many names a message lists.
const maxNamed = 20

// Select returns the index in src.List of the one image that is called name,
// and in an index is for platform. Names are the same if they are in full:
// app:1 is docker.io/library/app:1; @N is the image with the number N, from 0;
// without a name there has to be one image, or one index. A name that the place
// does not have is an fs.ErrNotExist that lists those it has; one that stands
// for different images is an error. A digest in a name decides: one that is called
// so and is another is a *layer.DigestError.
func Select(src Source, name string, platform v1.Platform) (int, error) {
	i, err := find(src.List(), name, platform)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", src, err)
	}
	return i, nil
}

func find(list []Listed, name string, platform v1.Platform) (int, error) {
	if number, ok := strings.CutPrefix(name, "@"); ok {
		return byNumber(list, name, number)
	}
	seen := map[string]bool{}
	full := fullName(name)
	var found []int
	for i, l := range list {
		called := name == "" || called(l, name, full)
		key := l.ID
		if name == "" { // what is meant then is a name, too
			key = fmt.Sprintf("%s %q", l.ID, l.Names)
		}
		if called && (l.ID == "" || !seen[key]) {
			found = append(found, i)
			seen[key] = true
		}
	}
	if err := checkDigests(list, found, name); err != nil {
		return 0, err
	}
	switch {
	case len(list) == 0:
		return 0, fmt.Errorf("%w: it holds no image", fs.ErrNotExist)
	case len(found) == 0:
		return 0, fmt.Errorf("image %q: %w: %s", name, fs.ErrNotExist, names(list))
	case len(found) == 1 && list[found[0]].Index == "":
		return found[0], nil
	}
	return ofIndex(list, found, name, platform)
}

// called tells whether an image is called name, which is full in full.
func called(l Listed, name, full string) bool {
	return slices.ContainsFunc(l.Names, func(n string) bool { return n == name || fullName(n) == full })
}

// checkDigests compares images with the digest in the name that they are called,
// if it has one: in a layout a name is a text that anybody can write.
func checkDigests(list []Listed, found []int, name string) error {
	_, text, _ := strings.Cut(name, "@")
	want, err := ocijson.ParseDigest(text)
	if err != nil {
		return nil
	}
	for _, i := range found {
		switch l := list[i]; {
		case l.Index == want, l.Descriptor.Digest == want:
		case l.Descriptor.Digest == "":
			return fmt.Errorf("image %q: the image of this name has no manifest whose digest could be compared", name)
		default:
			return &layer.DigestError{What: fmt.Sprintf("image called %q", name), Want: want, Got: cmp.Or(l.Index, l.Descriptor.Digest)}
		}
	}
	return nil
}

// ofIndex chooses of several images, which have to be those of one index.
func ofIndex(list []Listed, found []int, name string, platform v1.Platform) (int, error) {
	manifests := make([]v1.Descriptor, len(found))
	for n, i := range found {
		if list[i].Index == "" || !slices.Equal(list[i].Names, list[found[0]].Names) {
			return 0, ambiguous(list, found, name)
		}
		manifests[n] = list[i].Descriptor
	}
	d, err := ocijson.Choose(manifests, platform)
	if err != nil {
		return 0, err
	}
	return found[slices.IndexFunc(manifests, func(m v1.Descriptor) bool { return m.Digest == d.Digest })], nil
}

func ambiguous(list []Listed, found []int, name string) error {
	if name == "" {
		return fmt.Errorf("it holds %d images: %s", len(found), names(list))
	}
	return fmt.Errorf("image %q: there are %d of this name: choose @%d, @%d …", name, len(found), found[0], found[1])
}

func byNumber(list []Listed, name, number string) (int, error) {
	i, err := strconv.Atoi(number)
	if err != nil || i < 0 {
		return 0, fmt.Errorf("image %q: expected NAME:TAG, or @ and a number from 0", name)
	}
	if i >= len(list) {
		return 0, fmt.Errorf("image %q: %w: there are %d, which count from @0", name, fs.ErrNotExist, len(list))
	}
	return i, nil
}

// fullName is the name with its registry and tag, or the text as it is where
// it is no name.
func fullName(text string) string {
	named, err := reference.ParseNormalizedNamed(text)
	if err != nil {
		return text
	}
	return reference.TagNameOnly(named).String()
}

// names is a list of the names for a message.
func names(list []Listed) string {
	var all []string
	for _, l := range list {
		for _, n := range l.Names {
			if quoted := strconv.Quote(n); !slices.Contains(all, quoted) {
				all = append(all, quoted)
			}
		}
		if len(all) > 10*maxNamed { // enough has been compared
			break
		}
	}
	switch {
	case len(all) == 0:
		return fmt.Sprintf("its %d images have no names: choose by @ and a number from 0", len(list))
	case len(all) > maxNamed:
		return fmt.Sprintf("it has %s and more", strings.Join(all[:maxNamed], ", "))
	}
	return "it has " + strings.Join(all, ", ")
}
