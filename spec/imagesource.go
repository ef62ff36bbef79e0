package spec

import "slices"

// ImageSource returns the image that a copy is from, or false if it is from this machine. It is for the
// platform of the spec.
func (s *Spec) ImageSource(c Copy) (Base, bool) {
	return Base{
		Reference: c.Image, Local: s.LocalReference(c.Image), Written: s.Written(c.Image),
		Architecture: s.Architecture, Variant: s.Variant,
	}, c.Image != ""
}

// Images returns the references of the images that the spec needs: fromImage, and those that are
// copied from.
func (s *Spec) Images() []string {
	var all []string
	add := func(ref string) {
		if ref != "" && !slices.Contains(all, ref) {
			all = append(all, ref)
		}
	}
	add(s.FromImage)
	for _, c := range s.CopyToRoot {
		add(c.Image)
	}
	for _, g := range s.Layers {
		for _, c := range g.CopyToRoot {
			add(c.Image)
		}
	}
	return all
}

// OfMachine reports whether the source is a path of this machine.
func (c Copy) OfMachine() bool { return c.Content == nil && c.Image == "" }
