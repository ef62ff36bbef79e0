package hybrid

import (
	"fmt"
	"slices"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/image"
)

// ContradictionError says that the halves of an archive give one name to different images. Which
// of them is meant depends on who reads it.
type ContradictionError struct {
	Name string
	// Docker is the id of the image in manifest.json, and OCI are the ids of those in index.json.
	Docker digest.Digest
	OCI    []digest.Digest
}

func (e *ContradictionError) Error() string {
	var ids []string
	for _, id := range e.OCI {
		ids = append(ids, id.String())
	}
	return fmt.Sprintf("%q is the image with the id %s in manifest.json, and that with the id %s in index.json", e.Name, e.Docker, strings.Join(ids, " or "))
}

// comparison has what both halves list, with the images' ids; an id is "" where the archive does
// not have the config.
type comparison struct {
	dockerList, ociList []image.Listed
	dockerIDs, ociIDs   []digest.Digest
	whole               []bool // images of oci all of whose layers are there
}

// contradiction returns an error if a name stands for an image in manifest.json, and index.json has
// another by itself under that name, or others and not this one. Images that a layout lists and does
// not have say nothing.
func (c *comparison) contradiction() error {
	type listed struct {
		ids   []digest.Digest
		alone []digest.Digest // those that are not in an index
	}
	names := map[string]listed{} // of oci
	for n, l := range c.ociList {
		for _, name := range l.Names {
			full, id := fullName(name), c.ociIDs[n]
			if full == "" || id == "" {
				continue
			}
			has := names[full]
			if has.ids = append(has.ids, id); l.Index == "" {
				has.alone = append(has.alone, id)
			}
			names[full] = has
		}
	}
	for i, l := range c.dockerList {
		for _, name := range l.Names {
			own, has := c.dockerIDs[i], names[fullName(name)]
			other := slices.ContainsFunc(has.alone, func(id digest.Digest) bool { return id != own })
			if own != "" && (other || len(has.ids) > 0 && !slices.Contains(has.ids, own)) {
				return &ContradictionError{name, own, has.ids}
			}
		}
	}
	return nil
}

// absent reports whether the layout lists an image by itself and does not have it, where
// manifest.json has one of its name.
func (c *comparison) absent(n int) bool {
	l := c.ociList[n]
	return c.ociIDs[n] == "" && l.Index == "" && slices.ContainsFunc(l.Names, func(name string) bool {
		full := fullName(name)
		return full != "" && slices.ContainsFunc(c.dockerList, func(l image.Listed) bool {
			return slices.ContainsFunc(l.Names, func(name string) bool { return fullName(name) == full })
		})
	})
}

// fullName returns a NAME:TAG with the registry that short names stand for, or "" for another name.
func fullName(name string) string {
	if _, _, err := image.SplitRepoTag(name); err != nil {
		return ""
	}
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return ""
	}
	return named.String()
}
