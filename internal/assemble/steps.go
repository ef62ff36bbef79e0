package assemble

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/varve-image/varve/internal/lack"
	"github.com/varve-image/varve/internal/nixstore"
	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/internal/sandbox/remember"
	"github.com/varve-image/varve/internal/tally"
	"github.com/varve-image/varve/spec"
	"github.com/varve-image/varve/tree"
)

// Steps says how the scripts of a spec are run.
type Steps struct {
	// Runner returns the runner for a kind of isolation.
	Runner func(spec.Isolation) (sandbox.Runner, error)
	// AllowNetwork lets a spec ask for the machine's network.
	AllowNetwork bool
	// Limits are the limits of each step.
	Limits sandbox.Limits
	// Output returns the writer for the output of the step called name, as it
	// comes. It is closed when the step has ended. Nil discards the output.
	Output func(name string) io.WriteCloser
	// Reused, if not nil, is told of a step that is not run, because what it leaves is known.
	Reused func(name string)
}

// ErrNetwork is the error for a spec that asks for the machine's network when
// Steps.AllowNetwork does not allow it.
var ErrNetwork = errors.New("scripts that use the machine's network make other images on other days")

// OutputOf is Output, but never returns nil.
func (s *Steps) OutputOf(name string) io.WriteCloser {
	if s.Output == nil {
		return nowhere{io.Discard}
	}
	return s.Output(name)
}

type nowhere struct{ io.Writer }

func (nowhere) Close() error { return nil }

// checkSteps refuses scripts that could not be run, before anything is read.
func (b *builder) checkSteps() error {
	if b.spec.HasSteps() && b.opts.Steps.Runner == nil {
		return &SpecError{"runAsRoot, extraCommands, fakeRootCommands", errors.New("scripts are not run here")}
	}
	return nil
}

// stepRunAsRoot is the only step that sees the base's files.
const stepRunAsRoot = "runAsRoot"

// runAsRoot runs the spec's script of that name in the image as it is so far, and
// returns the top tree with what it changed: its deletions are whiteouts.
func (b *builder) runAsRoot(ctx context.Context, below stack, top []*tree.Entry) ([]*tree.Entry, stack, error) {
	if b.spec.RunAsRoot == "" {
		return top, below, nil
	}
	_, all, err := below.put(ctx, top, conflicts(b.spec.Conflicts))
	if err != nil {
		return nil, below, specError("conflicts", err)
	}
	res, err := b.run(ctx, below.base, &sandbox.Step{Name: stepRunAsRoot, Script: b.spec.RunAsRoot, Root: sandbox.ImageRoot, FakeRoot: true, Tree: all.entries})
	if err != nil {
		return nil, below, err
	}
	for _, e := range res.Changes {
		e.ModTime = b.spec.TreeMTime
	}
	if below.base != nil && compares(below.lower(), res.Tree) {
		err = below.base.spool(ctx)
	}
	if err != nil {
		return nil, below, err
	}
	changed, err := tree.Diff(ctx, below.lower(), res.Tree)
	if err != nil {
		return nil, below, specError("runAsRoot", err)
	}
	for i, e := range changed { // directories that lead there are the base's own
		c := *e
		changed[i] = &c
	}
	// What the script made of the explicit layers' files is not a conflict.
	return changed, stack{base: below.base, entries: res.Tree}, nil
}

// runOnTree runs the scripts that work on the top tree alone.
func (b *builder) runOnTree(ctx context.Context, base *base, top []*tree.Entry) (_ []*tree.Entry, err error) {
	s := b.spec
	if s.ExtraCommands != "" {
		step := &sandbox.Step{Name: "extraCommands", Script: s.ExtraCommands, Root: sandbox.HostTools}
		if top, err = b.runOn(ctx, base, top, step); err != nil {
			return nil, err
		}
	}
	if s.FakeRootCommands == "" {
		return top, nil
	}
	step := &sandbox.Step{Name: "fakeRootCommands", Script: s.FakeRootCommands, Root: sandbox.HostTools, FakeRoot: true}
	if s.EnableFakechroot {
		step.Root = sandbox.ImageRoot
	}
	if top, err = b.runOn(ctx, base, top, step); err != nil || !s.EnableFakechroot {
		return top, err
	}
	// As in dockerTools, which packs the directory that it mounted these in.
	return tree.Without(top, "proc", "sys", strings.TrimPrefix(s.StoreDir, "/")), nil
}

// runOn runs a step on a tree that may hold whiteouts; the step does not see them.
func (b *builder) runOn(ctx context.Context, base *base, top []*tree.Entry, step *sandbox.Step) ([]*tree.Entry, error) {
	files, whiteouts := tree.Whiteouts(top)
	step.Tree = files
	res, err := b.run(ctx, base, step)
	if err != nil {
		return nil, err
	}
	top = res.Tree
	b.adopt(step, top)
	for _, w := range whiteouts {
		if hidden, _ := tree.Hidden(w); tree.Find(top, hidden) == nil && tree.Find(top, path.Dir(hidden)) != nil {
			top = append(top, w)
		}
	}
	tree.Sort(top)
	return top, nil
}

// adopt gives the entries that a step made their final owners, and marks
// directories that look as mkdir makes them as implied: those that a layer below
// has keep their attributes there.
func (b *builder) adopt(step *sandbox.Step, entries []*tree.Entry) {
	own := b.spec.Layering == spec.Single && b.spec.RunAsRoot == "" && !step.FakeRoot
	for _, e := range entries {
		if tree.Find(step.Tree, e.Path) != nil {
			continue
		}
		e.Implied = e.Type == tree.Dir && e.Mode == 0o755 && e.UID == 0 && e.GID == 0 && len(e.Xattrs) == 0
		if own {
			e.UID, e.GID = b.spec.UID, b.spec.GID
		}
	}
}

// run runs a step with what the spec sets for all steps.
func (b *builder) run(ctx context.Context, base *base, step *sandbox.Step) (*sandbox.Result, error) {
	if architecture := b.architecture(base); step.Root == sandbox.ImageRoot && architecture != runtime.GOARCH {
		return nil, &lack.Error{Err: fmt.Errorf("%s: the image is for %q, whose programs this machine (%s) does not run: build it on one that does",
			step.Name, architecture, runtime.GOARCH)}
	}
	runner, err := b.opts.Steps.Runner(b.spec.Isolation)
	if err != nil {
		return nil, err
	}
	if err := CompleteStep(step, b.spec, b.opts); err != nil {
		return nil, err
	}
	opts, err := b.remembering(base, step)
	if err != nil {
		return nil, err
	}
	done, err := remember.Run(ctx, runner, step, opts, func() (*sandbox.Result, error) { return b.runNow(ctx, base, runner, step) })
	if err != nil {
		return nil, err
	}
	b.closers = append(b.closers, done)
	if done.Reused && b.opts.Steps.Reused != nil {
		b.opts.Steps.Reused(step.Name)
	}
	if done.Unsteady {
		b.warnings = append(b.warnings, &UnsteadyWarning{step.Name})
	}
	return done.Result, nil
}

// remembering says what a step depends on besides itself.
func (b *builder) remembering(base *base, step *sandbox.Step) (remember.Options, error) {
	store, err := filepath.Abs(b.opts.storeRoot() + b.spec.StoreDir)
	opts := remember.Options{
		Memo: b.opts.Memo, Isolation: string(b.spec.Isolation), Stores: []string{store, nixstore.DefaultStoreDir}, Looks: &b.looks,
		Debug: func(text string) { b.debugf("%s: %s", step.Name, text) },
	}
	if base != nil {
		opts.Base = remember.Base{DiffIDs: base.image.DiffIDs, Entries: base.entries}
	}
	return opts, err
}

// runNow runs a step that has all that it needs.
func (b *builder) runNow(ctx context.Context, base *base, runner sandbox.Runner, step *sandbox.Step) (*sandbox.Result, error) {
	if base != nil && step.Name == stepRunAsRoot {
		if err := base.spool(ctx); err != nil {
			return nil, err
		}
	}
	b.debugf("%s: running %q with PATH %q, isolation: %s, network: %s", step.Name, step.Argv[0], strings.Join(b.spec.Path, ":"), b.spec.Isolation, b.spec.Network)
	out := b.opts.Steps.OutputOf(step.Name)
	defer out.Close()
	step.Stdout, step.Stderr = out, out
	defer tally.Begin(ctx, "running", step.Name, 0).End()
	return sandbox.Run(ctx, runner, step)
}

// spool makes the contents of the base's files cheap to read.
func (b *base) spool(ctx context.Context) error {
	if err := b.overlay.Spool(ctx); err != nil {
		return fmt.Errorf("fromImage: %w", err)
	}
	return nil
}

// compares reports whether tree.Diff may have to read files, to know whether they differ.
func compares(lower, upper []*tree.Entry) bool {
	for _, e := range upper {
		if e.Type != tree.Regular || e.Size == 0 {
			continue
		}
		if old := tree.Find(lower, e.Path); old != nil && old != e && old.Size == e.Size && old.ModTime == e.ModTime {
			return true
		}
	}
	return false
}

// architecture returns the image's architecture.
func (b *builder) architecture(base *base) string {
	own := cmp.Or(b.spec.Architecture, b.opts.Architecture)
	if base == nil {
		return own
	}
	return cmp.Or(base.platform.Architecture, own)
}
