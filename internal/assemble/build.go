// Package assemble makes an image of a spec: it is the one place where trees,
// store closures, layers and configs come together.
//
// Guarantees:
//
//   - The image is a function of the spec, the files that it names and Options.
//     What depends on the machine (its architecture, the time) is in Options.
//   - Every store path of the closure is in exactly one layer.
//   - Nothing is written anywhere but in Options.TempDir: compressed tarballs,
//     unpacked to files without a name, and what scripts make.
//   - All references to the store are found: those of contents, of config, and
//     of every file of the top layer.
//
// Non-goals: where base images come from and where the image goes; how scripts
// are shut away, which is package sandbox's.
package assemble

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/layering"
	"github.com/varve-image/varve/internal/nixstore"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/spec"
	"github.com/varve-image/varve/tree"
)

// Options is what an image depends on besides its spec.
type Options struct {
	// Root is put before absolute store and input paths to find the files, as
	// in Nix's local?root=.
	Root string
	// StoreRoot is put before paths in the store instead, where it is not empty;
	// Nix's state of the store is looked for below it, too.
	StoreRoot string
	// VerifyStore has the files of store paths compared with the hashes that the
	// closure's source has of them. What differs is a *StoreError.
	VerifyStore bool
	// Architecture is the image's where the spec names none.
	Architecture string
	// SourceDateEpoch is the created time where the spec has none, in seconds
	// since 1970; nil is 1970-01-01T00:00:01Z.
	SourceDateEpoch *int64
	// Now is what the time "now" stands for.
	Now time.Time
	// TempDir is where compressed tarballs are unpacked; empty is the system's
	// place for temporary files.
	TempDir string
	// MaxUnpacked bounds, in bytes, what the base's layers, and what any one
	// tarball unpacks to, MaxEntries their entries; 0 is what package tree says.
	MaxUnpacked int64
	MaxEntries  int
	// OpenBase opens the image that the spec's fromImage names; without it there
	// is no building on others.
	OpenBase OpenBaseFunc
	// Steps is how the spec's scripts are run; without a Runner they are refused.
	Steps Steps
	// Files are added to the top layer, as a source that follows copyToRoot.
	Files []*tree.Entry
	// Debug, if not nil, is told what is done and what was found.
	Debug func(text string)
	// NoWarnings leaves Result.Warnings without what can be told of a config, for
	// one that no person wrote.
	NoWarnings bool
	// Absent are store paths that the image does not get though it mentions them.
	Absent []string
}

// Result is an image that can be written, and how its layers came about.
type Result struct {
	Image image.Named
	// Layers tells what each layer of the image holds.
	Layers []PlannedLayer
	// Notes are what the user may want to know: what was taken from the machine.
	Notes []string
	// Warnings are what is allowed and most likely not meant, each with what to
	// write instead.
	Warnings []string

	spec        *spec.Spec
	description image.Description
	// contents are the store paths, or paths in them, that the last explicit
	// layer asks for.
	contents []string
	// built are the layers that are there already, in the image's order.
	built   []*BuiltLayer
	closers []io.Closer
}

// PlannedLayer tells what is in a layer.
type PlannedLayer struct {
	// Kind is KindBase, KindStore or KindTree.
	Kind string `json:"kind"`
	// Paths are the store paths in the layer, in their order.
	Paths []string `json:"paths"`
	// Files counts the entries that are not below a store path; Size is the
	// size in bytes of the layer's store paths as archives, and of its files; of
	// a layer of the base, that of the layer as it is stored, 0 if not known.
	Files int    `json:"files"`
	Size  uint64 `json:"size"`
	// Built is the directory of a layer that was there already.
	Built string `json:"built,omitempty"`
}

// The kinds of layers: those of the base image, store paths in the bytes that
// nixpkgs makes of them, and anything else.
const (
	KindBase  = "base"
	KindStore = "store"
	KindTree  = "tree"
)

// Close frees what the image's layers are read from.
func (r *Result) Close() error {
	var errs []error
	for _, c := range r.closers {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// Build describes the image of a spec. Its files are looked at, and read where
// references are looked for; its layers are read when the image is written.
// The result has to be closed.
func Build(ctx context.Context, s *spec.Spec, opts Options) (*Result, error) {
	b := &builder{ctx: ctx, spec: s, opts: opts, implied: map[string]bool{}, result: &Result{spec: s}}
	if err := b.build(); err != nil {
		b.result.Close()
		return nil, err
	}
	return b.result, nil
}

type builder struct {
	ctx    context.Context
	spec   *spec.Spec
	opts   Options
	result *Result
	// base is the image that this one builds on; nil for none.
	base *base
	// below is what the layers made so far show, those of the base included,
	// and own the part of it that is not the base's.
	below, own []*tree.Entry
	// implied are the built layers, by where they are, that the image has because
	// others were built on them.
	implied map[string]bool
	// pipeline is the spec's layeringPipeline; nil for none.
	pipeline *layering.Pipeline
	// removed are the store paths that the pipeline leaves out of the image.
	removed map[string]bool
	// closure holds the store paths that the image needs, with their sizes;
	// nil where it needs none.
	closure *layering.Graph
	sizes   map[string]uint64
	// roots are the store paths that the closure is that of, and infos is what
	// is known of its paths.
	roots []string
	infos map[string]nixstore.PathInfo
	// mentioned are the store paths that the config and the top layer mention.
	mentioned struct{ config, top []string }
	// nix is the state of Nix that the image gets; nil for none.
	nix     *nixState
	layers  []image.Layer
	history []image.History
	// config is the image's, with what it inherits.
	config *image.Config
}

// debugf tells one who wants to know what is done.
func (b *builder) debugf(format string, args ...any) {
	if b.opts.Debug != nil {
		b.opts.Debug(fmt.Sprintf(format, args...))
	}
}

func (b *builder) build() error {
	if err := b.checkSteps(); err != nil {
		return err
	}
	if err := b.readPipeline(); err != nil {
		return specError("layeringPipeline", err)
	}
	if err := b.openBase(); err != nil {
		return err
	}
	contents, outside := b.splitContents(b.spec.Contents)
	groups, err := b.groups()
	if err != nil {
		return err
	}
	links := slices.Clone(contents)
	for _, g := range groups {
		links = append(links, g.contents...)
		b.result.contents = logicalPaths(g.contents)
	}
	top, err := b.topTree(links, outside)
	if err != nil {
		return err
	}
	if top, err = b.finishTop(contents, groups, top); err != nil {
		return err
	}
	if err := b.verifyStore(); err != nil {
		return err
	}
	if err := b.place(groups, top); err != nil {
		return err
	}
	if err := b.describe(); err != nil {
		return err
	}
	b.warn()
	return b.ctx.Err()
}

// describe fills in the image's fields.
func (b *builder) describe() error {
	s := b.spec
	d := &image.Description{
		Layers: b.layers, History: b.history,
		Created: b.created(), Architecture: s.Architecture, OS: s.OS, Config: s.Config,
		Variant: s.Variant, ModTime: s.MTime,
	}
	if d.Architecture == "" {
		d.Architecture = b.opts.Architecture
	}
	if len(s.Annotations) > 0 {
		d.Annotations = map[string]string{}
		for _, a := range s.Annotations {
			d.Annotations[a.Key] = a.Value
		}
	}
	if err := b.assemble(d); err != nil {
		return err
	}
	b.config, b.result.description = d.Config, *d
	b.result.Image = image.Named{Image: image.New(*d), Names: image.Names{RepoTags: []string{repoTag(s.Name, s.Tag)}}}
	return nil
}

// repoTag returns NAME:TAG, or without a tag the name alone.
func repoTag(name, tag string) string {
	if tag == "" {
		return name
	}
	return name + ":" + tag
}

// created is the time of the config and its history.
func (b *builder) created() string {
	t := time.Unix(1, 0)
	switch {
	case b.spec.Created != nil && b.spec.Created.Now:
		t = b.opts.Now.Truncate(time.Second)
	case b.spec.Created != nil:
		t = time.Unix(b.spec.Created.Seconds, 0)
	case b.opts.SourceDateEpoch != nil:
		t = time.Unix(*b.opts.SourceDateEpoch, 0)
	}
	return confTime(t.Unix())
}

// ParseSourceDateEpoch reads the environment's SOURCE_DATE_EPOCH
// (reproducible-builds.org/specs/source-date-epoch).
func ParseSourceDateEpoch(text string) (int64, error) {
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil || seconds < 0 || seconds > spec.MaxTime || strings.HasPrefix(text, "+") {
		return 0, fmt.Errorf("SOURCE_DATE_EPOCH is %q, expected seconds since 1970", text)
	}
	return seconds, nil
}

// treeLayer describes the layer of a tree as GNU tar writes it.
func (b *builder) treeLayer(title string, entries []*tree.Entry) *layer.Layer {
	for _, e := range entries {
		e.ModTime = b.spec.TreeMTime
	}
	return layer.New(func() tree.Seq {
		return func(yield func(*tree.Entry, error) bool) {
			for _, e := range entries {
				if !yield(e, nil) {
					return
				}
			}
		}
	}, layer.Options{Dialect: layer.GNU, Prefix: "./", Title: title})
}
