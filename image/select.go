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
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/layer"
)

// Which image is meant has one rule, whatever the place: those of the name, and of
// several the first that is for the platform. Whoever chooses asks Select, SelectEach,
// SelectAll or Choose.

// Select returns the index in src.List of the image that is called name, and of
// several the first for platform.
//
// Names are the same if they are in full: app:1 is docker.io/library/app:1. @N is the
// image with the number N, from 0; @DIGEST is that of a manifest, of an index, or of a
// config; NAME@DIGEST has to be both. Without a name all images are meant. An
// image that stands alone is taken for any platform; where a list does not say what
// an image is for, its config does.
//
// A name that the place does not have is an fs.ErrNotExist that lists those it has.
// What is called by a digest and is another is a *layer.DigestError.
func Select(ctx context.Context, src Source, name string, platform v1.Platform) (int, error) {
	i, err := selectOne(ctx, src, name, platform)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", src, err)
	}
	return i, nil
}

func selectOne(ctx context.Context, src Source, name string, platform v1.Platform) (int, error) {
	list := src.List()
	found, alone, err := find(ctx, src, name)
	if err != nil {
		return 0, err
	}
	if len(found) == 1 && (alone || list[found[0]].Index == "") {
		return found[0], nil
	}
	return ofSeveral(ctx, src, found, platform)
}

// ofSeveral chooses for the platform.
func ofSeveral(ctx context.Context, src Source, found []int, platform v1.Platform) (int, error) {
	list := src.List()
	manifests := make([]v1.Descriptor, len(found))
	for n, i := range found {
		manifests[n] = list[i].Descriptor
	}
	n, err := Choose(ctx, manifests, platform, func(ctx context.Context, n int) (v1.Platform, error) {
		img, err := src.Open(ctx, found[n])
		if err != nil {
			return v1.Platform{}, err
		}
		return img.Platform(), nil
	})
	if err != nil {
		return 0, err
	}
	return found[n], nil
}

// maxOpened is how many images are looked into to find out what their place does not
// say: each is two documents.
const maxOpened = 100

// Choose returns the number of the first of several manifests that is for platform.
// own tells what the config of the one with a number says, where the list does not.
func Choose(ctx context.Context, manifests []v1.Descriptor, platform v1.Platform, own func(ctx context.Context, n int) (v1.Platform, error)) (int, error) {
	if len(manifests) < 2 {
		return ocijson.Choose(manifests, platform)
	}
	manifests = slices.Clone(manifests)
	var unread error
	opened := 0
	for n, d := range manifests {
		if d.Platform != nil {
			continue
		}
		if opened++; opened > maxOpened {
			return 0, fmt.Errorf("of more than %d images nothing says what platform they are for: choose by name, by digest, or by @ and a number from 0", maxOpened)
		}
		// What cannot be read is not chosen: it may be no image at all.
		p, err := own(ctx, n)
		if err != nil {
			unread = errors.Join(unread, fmt.Errorf("image %d: %w", n, err))
			continue
		}
		manifests[n].Platform = &p
	}
	n, err := ocijson.Choose(manifests, platform)
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	if err != nil && unread != nil {
		err = fmt.Errorf("%w\n%w", err, unread)
	}
	return n, err
}

// Choice is an image of a source, and all names that it has there.
type Choice struct {
	// Number is its index in the source's List.
	Number int
	Names  []string
}

// SelectEach returns all images of a source, each once: of those that are one image for
// several platforms the one for platform.
func SelectEach(ctx context.Context, src Source, platform v1.Platform) ([]Choice, error) {
	list := src.List()
	if len(list) == 0 {
		return nil, fmt.Errorf("read %s: %w", src, errEmpty)
	}
	var all []Choice
	at := map[string]int{} // in all, by ID
	named := map[string]bool{}
	for _, group := range groups(list) {
		i := group[0]
		if len(group) > 1 || list[i].Index != "" {
			var err error
			if i, err = ofSeveral(ctx, src, group, platform); err != nil {
				return nil, fmt.Errorf("read %s: %w", src, err)
			}
		}
		n, had := at[list[i].ID]
		if !had || list[i].ID == "" {
			n = len(all)
			at[list[i].ID] = n
			all = append(all, Choice{Number: i})
		}
		for _, member := range group {
			for _, name := range list[member].Names {
				if key := strconv.Itoa(n) + name; !named[key] {
					named[key] = true
					all[n].Names = append(all[n].Names, name)
				}
			}
		}
	}
	return all, nil
}

// Others is how many other images a list has besides that with the number i and those that
// are one with it.
func Others(list []Listed, i int) int {
	n := 0
	seen := map[string]bool{}
	for _, group := range groups(list) {
		l := list[group[0]]
		same := slices.Contains(group, i) || l.Index == "" && l.ID != "" && (l.ID == list[i].ID || seen[l.ID])
		seen[l.ID] = true
		if !same {
			n++
		}
	}
	return n
}

// Has tells whether a source has an image that is called name.
func Has(src Source, name string) bool { return len(calledSo(src.List(), name)) > 0 }

// groups are the numbers of images that are one image for several platforms: of one
// index, or of one name and different platforms.
func groups(list []Listed) [][]int {
	var all [][]int
	at := map[string]int{}
	for i, l := range list {
		key := groupKey(l)
		n, had := at[key]
		if l.Index == "" && key != "" {
			same := key + ocijson.Key(*l.Descriptor.Platform)
			_, again := at[same]
			had = had && !again
			at[same] = i
		}
		if key != "" && had {
			all[n] = append(all[n], i)
			continue
		}
		at[key] = len(all)
		all = append(all, []int{i})
	}
	return all
}

// groupKey is the same for images that may be one; empty for one by itself.
func groupKey(l Listed) string {
	switch {
	case l.Index != "":
		return l.Index.String()
	case len(l.Names) > 0 && l.Descriptor.Platform != nil:
		return strconv.Quote(fullName(l.Names[0]))
	}
	return ""
}

// SelectAll returns the indexes in src.List of the images that are called name, as
// Select has it, for all platforms: those of the index, or of the name. Without a name it
// returns all images, each once.
func SelectAll(ctx context.Context, src Source, name string) ([]int, error) {
	list := src.List()
	found, alone, err := find(ctx, src, name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", src, err)
	}
	if name == "" || alone {
		return found, nil
	}
	same := func(i int) bool { return groupKey(list[i]) != "" && groupKey(list[i]) == groupKey(list[found[0]]) }
	rest := slices.DeleteFunc(slices.Clone(found[1:]), func(i int) bool { return !same(i) })
	return append(found[:1:1], rest...), nil
}

var errEmpty = fmt.Errorf("%w: it holds no image", fs.ErrNotExist)

// find returns the numbers of the images of a name, each once. alone says that it is the
// name of one image, whatever index that is in.
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
	return nil, false, fmt.Errorf("image %q: %w: %s", name, fs.ErrNotExist, names(list))
}

// orArtifact tells of what is asked for by name or digest, and is no image.
func orArtifact(src Source, name string, err error) error {
	place, ok := src.(withArtifacts)
	if !ok || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	full := fullName(name)
	for _, a := range place.Artifacts() {
		if name != "" && (called(Listed{Names: a.Names}, name, full) || "@"+a.Digest.String() == name) {
			return fmt.Errorf("image %q: it is no image, but an artifact of type %q", name, a.Type)
		}
	}
	return err
}

// calledSo are the images that are called name, or without a name all; what is listed
// twice is there once.
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

// called tells whether an image is called name, which is full in full.
func called(l Listed, name, full string) bool {
	return slices.ContainsFunc(l.Names, func(n string) bool { return n == name || fullName(n) == full })
}

// byDigest chooses of the images of a name those of a digest.
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
		return nil, false, fmt.Errorf("image %q: %w: no manifest, index or config has this digest; %s", name, fs.ErrNotExist, names(list))
	}
	return nil, false, mismatch(list[found[0]], name, want)
}

// byConfig is the image of a config, the first hundred that can be read looked into;
// -1 for none.
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

// mismatch is the error of an image that is another than its name says.
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

// NamesFor are the names that a copy keeps of an image that was asked for by a
// name: that one, if it is NAME:TAG, or all that are NAME:TAG, each once.
func NamesFor(names []string, asked string) []string {
	var kept []string
	seen := map[string]bool{}
	for _, n := range names {
		full := fullName(n)
		if _, _, err := SplitRepoTag(n); err != nil || seen[full] {
			continue
		}
		if n == asked || full == fullName(asked) {
			return []string{n}
		}
		seen[full] = true
		kept = append(kept, n)
	}
	return kept
}

// maxNamed is how many names a message lists.
const maxNamed = 20

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
