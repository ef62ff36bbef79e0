package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/layer"
)

// ErrNotFound says that a place does not have an image, or a blob of one. Where a
// name was looked for in vain, the error is fs.ErrNotExist too.
var ErrNotFound = errors.New("no such image")

// notFound is ErrNotFound in the words of fs.ErrNotExist.
type notFound struct{}

func (notFound) Error() string { return fs.ErrNotExist.Error() }

func (notFound) Is(target error) bool { return target == ErrNotFound || target == fs.ErrNotExist }

var errEmpty = fmt.Errorf("%w: it holds no image", notFound{})

// Has reports whether a source has an image called name.
func Has(src Source, name string) bool { return len(calledSo(src.List(), name)) > 0 }

// find returns the numbers of the images of a name, each once. alone reports that the name is
// that of a single image, whatever index the image is in.
func find(ctx context.Context, src Source, name string) (found []int, alone bool, err error) {
	defer func() { err = orArtifact(src, name, err) }()
	list := src.List()
	if number, ok := strings.CutPrefix(name, "@"); ok && !strings.Contains(number, ":") {
		i, err := byNumber(list, name, number)
		return []int{i}, true, err
	}
	if len(list) == 0 {
		return nil, false, errEmpty
	}
	if found = calledSo(list, name); len(found) > 0 {
		return found, false, checkDigests(list, found, name)
	}
	before, text, cut := strings.Cut(name, "@")
	if d, err := ocijson.ParseDigest(text); cut && err == nil {
		if found = calledSo(list, before); len(found) > 0 {
			return byDigest(ctx, src, found, name, d)
		}
	}
	return nil, false, fmt.Errorf("image %q: %w: %s", name, notFound{}, names(list))
}

// orArtifact returns an error that describes the artifact if name is the name or digest of one
// instead of an image, and otherwise err.
func orArtifact(src Source, name string, err error) error {
	place, ok := src.(withArtifacts)
	if !ok || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	full := fullName(name)
	for _, a := range place.Artifacts() {
		if name != "" && (called(Listed{Names: a.Names}, name, full) || "@"+a.Digest.String() == name) {
			return fmt.Errorf("image %q: it is not an image, but an artifact of type %q", name, a.Type)
		}
	}
	return err
}

// calledSo returns the images that are called name, or all if name is empty; what is listed
// twice is returned once.
func calledSo(list []Listed, name string) []int {
	var found []int
	seen := map[string]bool{}
	full := fullName(name)
	for i, l := range list {
		key := fmt.Sprintf("%s %s", l.Index, l.ID)
		if (name == "" || called(l, name, full)) && (l.ID == "" || !seen[key]) {
			found = append(found, i)
			seen[key] = true
		}
	}
	return found
}

// called reports whether an image is called name, whose full form is full.
func called(l Listed, name, full string) bool {
	return slices.ContainsFunc(l.Names, func(n string) bool { return n == name || fullName(n) == full })
}

// byDigest chooses, among the images of a name, those with a digest.
func byDigest(ctx context.Context, src Source, found []int, name string, want digest.Digest) ([]int, bool, error) {
	list := src.List()
	for _, alone := range []bool{true, false} {
		of := slices.DeleteFunc(slices.Clone(found), func(i int) bool {
			return alone && list[i].Descriptor.Digest != want || !alone && list[i].Index != want
		})
		if alone && len(of) > 1 {
			of = of[:1]
		}
		if len(of) > 0 {
			return of, alone, nil
		}
	}
	if i := byConfig(ctx, src, found, want); i >= 0 {
		return []int{i}, true, nil
	}
	switch {
	case ctx.Err() != nil:
		return nil, false, context.Cause(ctx)
	case strings.HasPrefix(name, "@"):
		return nil, false, fmt.Errorf("image %q: %w: no manifest, index or config has this digest; %s", name, notFound{}, names(list))
	}
	return nil, false, mismatch(list[found[0]], name, want)
}

// byConfig returns the number of the image with a config digest, or -1 for none. It looks into
// the first hundred images that can be read.
func byConfig(ctx context.Context, src Source, found []int, want digest.Digest) int {
	for _, i := range found[:min(len(found), maxOpened)] {
		if img, err := src.Open(ctx, i); err == nil && want.Algorithm().FromBytes(img.ConfigJSON) == want {
			return i
		}
	}
	return -1
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
		if l := list[i]; l.Index != want && l.Descriptor.Digest != want {
			return mismatch(l, name, want)
		}
	}
	return nil
}

// mismatch returns the error for an image that is not the one its name says.
func mismatch(l Listed, name string, want digest.Digest) error {
	got := l.Descriptor.Digest
	switch {
	case l.Index != "":
		got = l.Index
	case got == "":
		return fmt.Errorf("image %q: the image of this name has no manifest whose digest could be compared", name)
	}
	return &layer.DigestError{What: fmt.Sprintf("image called %q", name), Want: want, Got: got}
}

func byNumber(list []Listed, name, number string) (int, error) {
	i, err := strconv.Atoi(number)
	if err != nil || i < 0 {
		return 0, fmt.Errorf("image %q: expected NAME:TAG, or @ and a number from 0 or a digest", name)
	}
	if i >= len(list) {
		return 0, fmt.Errorf("image %q: %w: there are %d, which count from @0", name, notFound{}, len(list))
	}
	return i, nil
}

// fullName returns the name with its registry and tag, or the text as it is where it is not a
// name.
func fullName(text string) string {
	named, err := reference.ParseNormalizedNamed(text)
	if err != nil {
		return text
	}
	return reference.TagNameOnly(named).String()
}

// maxNamed is how many names a message lists.
const maxNamed = 20

// names returns a list of the names for a message.
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
