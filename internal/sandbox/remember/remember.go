// Package remember runs steps, or takes what they left from what an earlier run left.
//
// Guarantees:
//
//   - A result is used again only for a step that is the same and sees the same: its tree, its
//     program and options, and of the machine all files that are visible to it. It then equals
//     that of the run, entry by entry and byte by byte.
//   - What a step sees and what cannot be stated, such as a network, keeps it from being
//     remembered. So does a file that was changed just now.
//   - Only steps that ended well are remembered. A memo that is damaged, full or cannot be written
//     costs a run.
//
// Non-goals: what a step makes of the time, the processor or random numbers. It is as it was when
// the step ran.
package remember

import (
	"context"
	"io"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/internal/memo"
	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// Options says what there is to know of a step besides itself.
type Options struct {
	// Memo is where results are kept; nil remembers nothing.
	Memo *memo.Memo
	// Isolation names the kind of the runner.
	Isolation string
	// Base is the image whose files are in the step's tree: their content is that of its layers.
	Base Base
	// Stores are the directories on this machine whose entries are never written to once they
	// are there, such as /nix/store.
	Stores []string
	// Looks, if not nil, keeps what is seen of the machine from one step to the next, unless one
	// runs.
	Looks *Looks
	// Debug, if not nil, receives why a step is not remembered.
	Debug func(text string)
}

// Base is a tree and the layers that it comes from.
type Base struct {
	DiffIDs []digest.Digest
	Entries []*tree.Entry
}

// Outcome is what became of a step.
type Outcome struct {
	*sandbox.Result
	// Reused says that the step did not run.
	Reused bool
	// Unsteady says that it ran, and left something else than when it ran before and saw the same.
	Unsteady bool
}

// Run returns what a step leaves: what it left before, if that is known, or else what run returns.
// The result has to be closed.
func Run(ctx context.Context, r sandbox.Runner, step *sandbox.Step, opts Options, run func() (*sandbox.Result, error)) (Outcome, error) {
	if opts.Memo == nil {
		res, err := run()
		return Outcome{Result: res}, err
	}
	k, why := keyOf(ctx, r, step, opts)
	if err := ctx.Err(); err != nil {
		return Outcome{}, context.Cause(ctx)
	}
	if why != nil {
		opts.debug("it is not remembered: " + why.Error())
		res, err := run()
		opts.Looks.forget()
		return Outcome{Result: res}, err
	}
	if res := recall(ctx, step, opts, k); res != nil {
		return Outcome{Result: res, Reused: true}, nil
	}
	settled := opts.Memo.Settled(k.changed)
	res, err := run()
	opts.Looks.forget()
	if err != nil {
		return Outcome{}, err
	}
	out := Outcome{Result: res}
	if !settled {
		opts.debug("it is not remembered: a file that it sees was changed just before, or nothing says when it was")
		return out, nil
	}
	if now, err := keyOf(ctx, r, step, opts); err != nil || now.sum != k.sum {
		opts.debug("it is not remembered: a file that it sees was changed while it ran")
		return out, nil
	}
	out.Unsteady = keep(ctx, opts, k, res)
	return out, nil
}

func (o Options) debug(text string) {
	if o.Debug != nil {
		o.Debug(text)
	}
}

// recall returns the result that is kept for a key, or nil.
func recall(ctx context.Context, step *sandbox.Step, opts Options, k key) *sandbox.Result {
	d, ok := opts.Memo.Step(k.sum)
	if !ok {
		return nil
	}
	f, err := opts.Memo.Open(ctx, d)
	if err == nil {
		var res *sandbox.Result
		if res, err = sandbox.OpenChanges(ctx, step, f, d.Size); err == nil {
			stamp(res, d)
			return res
		}
	}
	opts.debug("what it left is not kept any more: " + err.Error())
	return nil
}

// keep keeps what a step left, and reports whether something else is kept for its key.
func keep(ctx context.Context, opts Options, k key, res *sandbox.Result) (other bool) {
	d, err := opts.Memo.Keep(ctx, func(w io.Writer) error { return writeChanges(ctx, w, res.Changes) })
	if err != nil {
		opts.debug("it is not remembered: " + err.Error())
		return false
	}
	was, known := opts.Memo.Step(k.sum)
	if opts.Memo.Has(d) {
		opts.Memo.KeepStep(k.sum, d)
		stamp(res, d)
	}
	return known && !same(was, d)
}

// stamp lets layers and later steps know the files that a step left by the digest of what is kept of
// them all: they need not be read for it.
func stamp(res *sandbox.Result, kept v1.Descriptor) {
	for _, e := range res.Changes {
		if e.Type == tree.Regular {
			e.Stamp = tree.StampOfPart(kept.Digest, e.Path)
		}
	}
}

func same(a, b v1.Descriptor) bool { return a.Digest == b.Digest && a.Size == b.Size }

// writeChanges writes a layer for sandbox.OpenChanges.
func writeChanges(ctx context.Context, w io.Writer, changes []*tree.Entry) error {
	l := layer.NewWriter(w, layer.PAX, "")
	var links layer.Links
	for _, e := range changes {
		if e.Implied { // as it is when it is read, too
			continue
		}
		if err := l.Write(ctx, links.Replace(e)); err != nil {
			return err
		}
	}
	return l.Close()
}
