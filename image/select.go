package image

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/internal/ocijson"
)

// One rule chooses an image, whatever the place: of the images with the name, the first that is
// for the platform. All code that chooses calls Select, SelectEach, SelectFor, SelectAll or
// Choose.

// Select returns the index in src.List of the image that is called name, or of several the first
// for platform.
//
// Names are compared in full: app:1 is docker.io/library/app:1. @N is the image with the number
// N, from 0; @DIGEST is the digest of a manifest, an index or a config; NAME@DIGEST has to match
// both. An empty name means all images. A single image is taken for any platform; where the list
// does not name an image's platform, its config does.
//
// A name that the place does not have is ErrNotFound, and fs.ErrNotExist, and lists the names it has. An image
// whose digest is not the one in its name is a *layer.DigestError.
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

// ofSeveral chooses the image for the platform.
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
		return img.ConfigPlatform(), nil
	})
	if err != nil {
		return 0, err
	}
	return found[n], nil
}

// maxOpened limits how many images are opened to find out what their place does not say: each is
// two documents.
const maxOpened = 100

// Choose returns the number of the first of several manifests that is for platform. Where the
// list names none for it, one without a platform in the list is chosen by its config: own
// returns the platform in the config of the manifest with a number.
func Choose(ctx context.Context, manifests []v1.Descriptor, platform v1.Platform, own func(ctx context.Context, n int) (v1.Platform, error)) (int, error) {
	if n, err := ocijson.Choose(manifests, platform); err == nil || len(manifests) < 2 {
		return n, err
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
		// What cannot be read is not chosen: it may not be an image at all.
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

// SelectEach returns all images of a source, each once. Of an image for several platforms it
// returns the one for platform.
func SelectEach(ctx context.Context, src Source, platform v1.Platform) ([]Choice, error) {
	list := src.List()
	if len(list) == 0 {
		return nil, fmt.Errorf("read %s: %w", src, errEmpty)
	}
	var chosen []int
	for _, group := range groups(list) {
		i := group[0]
		if len(group) > 1 || list[i].Index != "" {
			var err error
			if i, err = ofSeveral(ctx, src, group, platform); err != nil {
				return nil, fmt.Errorf("read %s: %w", src, err)
			}
		}
		chosen = append(chosen, i)
	}
	return choices(list, groups(list), chosen), nil
}

// SelectFor returns the images of a source that are for platform, each once, and how many it
// leaves out. Where the list does not name the platform of an image by itself, its config does.
// If no image is for the platform, SelectFor returns what Select returns, which may be a single
// image.
func SelectFor(ctx context.Context, src Source, platform v1.Platform) (chosen []Choice, others int, err error) {
	list := src.List()
	var kept [][]int
	var numbers []int
	for _, group := range groups(list) {
		i, ok := firstFor(ctx, src, group, platform)
		if ctx.Err() != nil {
			return nil, 0, context.Cause(ctx)
		}
		if !ok {
			others++
			continue
		}
		kept = append(kept, group)
		numbers = append(numbers, i)
	}
	if len(kept) > 0 {
		return choices(list, kept, numbers), others, nil
	}
	i, err := Select(ctx, src, "", platform)
	if err != nil {
		return nil, 0, err
	}
	return []Choice{{i, list[i].Names}}, 0, nil
}

// firstFor returns the first image of a group that is for the platform. An image that cannot be
// read counts as being for none.
func firstFor(ctx context.Context, src Source, group []int, platform v1.Platform) (int, bool) {
	if len(group) > 1 {
		i, err := ofSeveral(ctx, src, group, platform)
		return i, err == nil
	}
	if p := src.List()[group[0]].Descriptor.Platform; p != nil {
		return group[0], ocijson.Matches(platform, p)
	}
	img, err := src.Open(ctx, group[0])
	return group[0], err == nil && img.CheckFor(platform) == nil
}

// choices returns the images that were chosen from groups, each once, with the names of all
// images in their groups.
func choices(list []Listed, groups [][]int, chosen []int) []Choice {
	var all []Choice
	at := map[string]int{} // in all, by ID
	named := map[string]bool{}
	for g, group := range groups {
		i := chosen[g]
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
	return all
}

// Others returns how many images a list has besides the one with the number i and those that are
// the same image for other platforms.
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

// groups returns the numbers of images, grouped where they are one image for several platforms:
// in one index, or with one name and different platforms.
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

// groupKey returns the same key for images that may be one image, and "" for an image by itself.
func groupKey(l Listed) string {
	switch {
	case l.Index != "":
		return l.Index.String()
	case len(l.Names) > 0 && l.Descriptor.Platform != nil:
		return strconv.Quote(fullName(l.Names[0]))
	}
	return ""
}

// SelectAll returns the indexes in src.List of the images that are called name, by Select's
// rules, for all platforms: those in the index, or with the name. For an empty name it returns
// all images, each once.
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
