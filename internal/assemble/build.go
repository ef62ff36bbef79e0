// Package assemble makes an image from a spec: it is the one place where trees,
// store closures, layers and configs come together.
//
// Guarantees:
//
//   - The image is a function of the spec, the files that it names and Options.
//     What depends on the machine (its architecture, the time) is in Options.
//   - Every store path of the closure is in exactly one layer.
//   - Nothing is written except in Options.TempDir: compressed tarballs,
//     unpacked to files without a name, and what scripts make.
//   - All references to the store are found: in contents, in config, and in
//     every file of the top layer.
//
// Non-goals: where base images come from and where the image goes; isolating
// scripts, which is up to package sandbox.
package assemble

import (
	"context"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/internal/memo"
	"github.com/varve-image/varve/internal/nixstore/nixstate"
	"github.com/varve-image/varve/internal/problems"
	"github.com/varve-image/varve/internal/sandbox/remember"
	"github.com/varve-image/varve/internal/tally"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/spec"
	"github.com/varve-image/varve/tree"
)

// Options holds what an image depends on besides its spec.
type Options struct {
	// Root is put before absolute store and input paths to find the files, as
	// in Nix's local?root=.
	Root string
	// StoreRoot, if not empty, is put before paths in the store instead; Nix's
	// state of the store is looked up below it, too.
	StoreRoot string
	// VerifyStore compares the files of store paths with the hashes that the
	// closure's source records for them. A difference is a *StoreError.
	VerifyStore bool
	// Architecture is the image's if the spec names none.
	Architecture string
	// SourceDateEpoch is the created time if the spec has none, in seconds since
	// 1970; nil means 1970-01-01T00:00:01Z.
	SourceDateEpoch *int64
	// Now is the time that "now" stands for.
	Now time.Time
	// TempDir is where compressed tarballs are unpacked; empty means the system's
	// directory for temporary files.
	TempDir string
	// MaxUnpacked limits, in bytes, what the base's layers and what any one tarball
	// unpack to; MaxEntries limits their entries. Zero means package tree's
	// default.
	MaxUnpacked int64
	MaxEntries  int
	// Databases reads and makes Nix's databases. Without it includeNixDB is refused,
	// and closures come from Nix's programs instead.
	Databases nixstate.Databases
	// OpenBase opens the image that the spec's fromImage names; without it no image
	// can build on another.
	OpenBase OpenBaseFunc
	// OpenPlan returns the store paths of each layer of what the spec's previous names; without it no
	// image can have a plan.
	OpenPlan OpenPlanFunc
	// Steps says how the spec's scripts are run; without a Runner they are refused.
	Steps Steps
	// Files are added to the top layer, as a source that follows copyToRoot.
	Files []*tree.Entry
	// Memo, where it is set, remembers the digests of layers, and what scripts made.
	Memo *memo.Memo
	// Pushed, where it is set, returns the diffID of the layer of store paths with a portable key.
	// It is asked only where the hashes of store paths come from Nix or were verified.
	Pushed func(portable digest.Digest) (digest.Digest, bool)
	// Debug, if not nil, receives messages about what is done and what was found.
	Debug func(text string)
	// NoWarnings leaves warnings about the config out of Result.Warnings, for a
	// config that no person wrote.
	NoWarnings bool
	// Absent lists store paths that the image does not get although it mentions them.
	Absent []string
}

// Build describes the image of a spec. It looks at the image's files, and reads
// them where it searches for references; the layers are read when the image is
// written. The caller must close the result.
func Build(ctx context.Context, s *spec.Spec, opts Options) (*Result, error) {
	b := &builder{spec: s, opts: opts}
	result, err := b.build(ctx)
	if err != nil {
		b.closers.Close()
		return nil, problems.Annotate(err, fieldsFor)
	}
	return result, nil
}

// builder holds what every phase of a build may ask for, and what it leaves behind:
// messages for the user, and what the image's layers are read from. Everything else
// is passed from one phase to the next.
type builder struct {
	spec     *spec.Spec
	opts     Options
	notes    []string
	warnings []error
	closers  closers
	// owners are the owners by name of what is being copied into a layer; removed is
	// what layers remove from those below.
	owners  []namedOwner
	removed []removed
	// sources are the images that are copied from, by their references.
	sources map[string]*tree.Overlay
	// globbed are the paths that globs written relative to the spec stand for.
	globbed map[string]bool
	// looks is what steps see of the machine.
	looks remember.Looks
}

// build runs a build's phases in order.
func (b *builder) build(ctx context.Context) (*Result, error) {
	defer tally.Begin(ctx, "looking at files", "", 0).End()
	if err := b.checkSteps(); err != nil {
		return nil, err
	}
	pipeline, err := b.readPipeline()
	if err != nil {
		return nil, err
	}
	plan, err := b.openPlan(ctx)
	if err != nil {
		return nil, err
	}
	base, err := b.openBase(ctx)
	if err != nil {
		return nil, err
	}
	if err := b.expandEnv(base); err != nil {
		return nil, err
	}
	groups, below, err := b.readGroups(ctx, stackOn(base))
	if err != nil {
		return nil, err
	}
	top, below, err := b.topTree(ctx, below, groups)
	if err != nil {
		return nil, err
	}
	lower := below.entries
	if top, below, err = b.runAsRoot(ctx, below, top); err != nil {
		return nil, err
	}
	top, needed, err := b.settleStore(ctx, below, groups, top)
	if err != nil {
		return nil, err
	}
	done, err := b.finish(ctx, below, top, finish{"perms", "conflicts", b.spec.Perms, b.topPolicy(), lower})
	if err != nil {
		return nil, err
	}
	top, below = done.tree, done.on
	if err := b.checkRemoved(needed); err != nil {
		return nil, err
	}
	b.debugf("files: the top layer has %d, besides %d explicit layers", len(top), len(groups))
	if err := b.verifyStore(ctx, needed); err != nil {
		return nil, err
	}
	layers, err := placer{b, base, needed, pipeline, plan, new(layer.Passed)}.place(ctx, groups, top)
	if err != nil {
		return nil, err
	}
	d, err := b.describe(base, layers)
	if err != nil {
		return nil, err
	}
	b.warn(d, below, needed)
	return b.result(d, base, groups, layers), ctx.Err()
}

// debugf reports what is done to Options.Debug.
func (b *builder) debugf(format string, args ...any) {
	if b.opts.Debug != nil {
		b.opts.Debug(fmt.Sprintf(format, args...))
	}
}
