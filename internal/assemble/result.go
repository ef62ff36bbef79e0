package assemble

import (
	"errors"
	"io"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/spec"
)

// Result is an image that can be written, with an account of its layers.
type Result struct {
	Image image.Named
	// Layers describes the content of each layer of the image.
	Layers []PlannedLayer
	// Notes is information for the user: what was taken from the machine.
	Notes []string
	// Warnings are about things that are allowed but probably not intended, each
	// with what to write instead. One of them may be a *OwnerWarning, others
	// are *UnsteadyWarning.
	Warnings []error
	// Spec is what the image was made from, and Description what was made.
	Spec        *spec.Spec
	Description *image.Description

	// contents are the store paths, or paths in them, that the last explicit layer
	// asks for.
	contents []string
	// built are the layers that were built by themselves, in the image's order.
	built   []*BuiltLayer
	closers closers
}

// PlannedLayer describes the content of a layer.
type PlannedLayer struct {
	// Kind is KindBase, KindStore or KindTree.
	Kind string `json:"kind"`
	// Paths are the store paths in the layer, in their order.
	Paths []string `json:"paths"`
	// Files counts the entries that are not below a store path. Size is the total
	// size in bytes of the layer's store paths as archives, and of its files; for a
	// layer of the base, the size of the layer as stored, 0 if not known.
	Files int    `json:"files"`
	Size  uint64 `json:"size"`
	// Built is the directory of a layer that was built by itself.
	Built string `json:"built,omitempty"`
	// Kept says whether the previous image has the layer, where one was named: see MarkKept.
	Kept *bool `json:"kept,omitempty"`
}

// The kinds of layers: those of the base image, store paths in the bytes that
// nixpkgs makes of them, and everything else.
const (
	KindBase  = "base"
	KindStore = "store"
	KindTree  = "tree"
)

// result puts together what a build made.
func (b *builder) result(d *image.Description, base *base, groups []*group, layers []placed) *Result {
	r := &Result{
		Image:  image.Named{Image: image.New(*d), Names: image.Names{RepoTags: repoTags(b.spec)}},
		Layers: base.planned(), Notes: b.notes, Warnings: b.warnings, Spec: b.spec, Description: d, closers: b.closers,
	}
	for _, l := range layers {
		if l.plan.Paths == nil {
			l.plan.Paths = []string{} // so that it is a list in JSON too
		}
		r.Layers = append(r.Layers, l.plan)
		b.debugf("layer %d: %s, %d store paths, %d other files, %d bytes", len(r.Layers), l.comment, len(l.plan.Paths), l.plan.Files, l.plan.Size)
	}
	for _, g := range groups {
		if g.built != nil {
			r.built = append(r.built, g.built)
		}
		r.contents = logicalPaths(g.contents)
	}
	return r
}

// repoTags returns NAME:TAG for each tag, or without a tag the name alone.
func repoTags(s *spec.Spec) (names []string) {
	for _, tag := range s.AllTags() {
		names = append(names, s.Name+":"+tag)
	}
	if len(names) == 0 {
		names = []string{s.Name}
	}
	return names
}

// planned describes the base's layers.
func (b *base) planned() []PlannedLayer {
	if b == nil {
		return nil
	}
	layers := make([]PlannedLayer, b.layers())
	for i, l := range b.image.StoredLayers() {
		layers[i] = PlannedLayer{Kind: KindBase, Paths: []string{}, Size: uint64(l.Stored().Size)}
	}
	return layers
}

func logicalPaths(contents []content) []string {
	paths := []string{}
	for _, c := range contents {
		paths = append(paths, c.path)
	}
	return paths
}

// Close closes what the image's layers are read from.
func (r *Result) Close() error { return r.closers.Close() }

// closers are closed together.
type closers []io.Closer

func (all closers) Close() error {
	var errs []error
	for _, c := range all {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}
