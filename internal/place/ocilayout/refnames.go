package ocilayout

import (
	"cmp"

	"github.com/distribution/reference"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
)

// refTable assigns names within a layout to images, each to one of them.
type refTable struct {
	names []image.Names // of each image
	given map[string]bool
	// owner maps a name that an image has of its own within a layout to the image's number: no
	// other image gets it for its tag.
	owner map[string]int
}

func newRefTable(names ...image.Names) *refTable {
	t := &refTable{names: names, given: map[string]bool{}, owner: map[string]int{}}
	for i, n := range names {
		for _, name := range n.RefNames {
			if _, taken := t.owner[name]; !taken {
				t.owner[name] = i
			}
		}
	}
	return t
}

// take reports whether image i can have the name, and gives it the name.
func (t *refTable) take(i int, name string) bool {
	if owner, ok := t.owner[name]; t.given[name] || ok && owner != i {
		return false
	}
	t.given[name] = true
	return true
}

// named returns the descriptor of image i under each of its names. A name that another image has
// within the layout is used in full. refName replaces them all.
func (t *refTable) named(d v1.Descriptor, i int, refs []reference.NamedTagged, refName string) []v1.Descriptor {
	var all []v1.Descriptor
	add := func(full reference.NamedTagged, within string) {
		d.Annotations = names(full, within)
		all = append(all, d)
	}
	own := t.names[i].RefNames
	if refName != "" {
		refs, own = refs[:min(len(refs), 1)], []string{refName}
	}
	inPlace := ""
	if len(refs) == 1 && len(own) == 1 {
		inPlace = own[0]
	}
	for _, ref := range refs {
		within := cmp.Or(inPlace, ref.Tag())
		if !t.take(i, within) {
			within = reference.FamiliarString(ref)
			t.given[within] = true
		}
		add(ref, within)
	}
	for _, name := range own {
		if t.take(i, name) {
			add(nil, name)
		}
	}
	if len(all) == 0 {
		add(nil, "")
	}
	return all
}

func namesOfEach(images []image.Named) []image.Names {
	names := make([]image.Names, len(images))
	for i, img := range images {
		names[i] = img.Names
	}
	return names
}
