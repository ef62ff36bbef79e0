package spec

// Base describes the image that a spec builds on.
type Base struct {
	// Reference is the spec's fromImage. Local says that its path was written
	// relative to the spec, so that no other root applies to it.
	Reference string
	Local     bool
	// Written is the reference as it stands in the spec.
	Written string
	// Name and Tag choose among the images of an archive; both are empty for the
	// first.
	Name, Tag string
	// Architecture and Variant are the spec's; either may be empty.
	Architecture, Variant string
}

// Plan returns what Previous names, or false if that is nothing. A plan file has a Reference that is
// a path; of auto, which is no reference, Reference is PreviousAuto.
func (s *Spec) Plan() (Base, bool) {
	return Base{
		Reference: s.Previous, Local: s.LocalReference(s.Previous), Written: s.Written(s.Previous),
		Architecture: s.Architecture, Variant: s.Variant,
	}, s.Previous != ""
}

// Base returns the image that the spec builds on, or false if there is none.
func (s *Spec) Base() (Base, bool) {
	return Base{
		Reference: s.FromImage, Local: s.LocalReference(s.FromImage), Written: s.Written(s.FromImage),
		Name: s.FromImageName, Tag: s.FromImageTag, Architecture: s.Architecture, Variant: s.Variant,
	}, s.FromImage != ""
}
