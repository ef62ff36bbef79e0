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

// contradiction returns an error if a name stands for an image in manifest.json that index.json
// does not list under that name, but others. A layout may list images that it does not have; one
// of them may be meant.
func (c *comparison) contradiction() error {
	ids := map[string][]digest.Digest{} // of oci, by name
	for n, l := range c.ociList {
		for _, name := range l.Names {
			if full := fullName(name); full != "" {
				ids[full] = append(ids[full], c.ociIDs[n])
			}
		}
	}
	for i, l := range c.dockerList {
		for _, name := range l.Names {
			own, others := c.dockerIDs[i], ids[fullName(name)]
			if own != "" && len(others) > 0 && !slices.Contains(others, own) && !slices.Contains(others, "") {
				return &ContradictionError{name, own, others}
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
