package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/varve-image/varve/internal/assemble"
	"github.com/varve-image/varve/internal/base"
	"github.com/varve-image/varve/internal/base/cache"
	"github.com/varve-image/varve/internal/base/lockfile"
	"github.com/varve-image/varve/internal/cmdline"
	"github.com/varve-image/varve/internal/dockertools"
	"github.com/varve-image/varve/internal/memo"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/internal/place/engine"
	"github.com/varve-image/varve/internal/place/registry"
	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/internal/sandbox/vm"
	"github.com/varve-image/varve/internal/transfer"
	"github.com/varve-image/varve/internal/treefile"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/spec"
	"github.com/varve-image/varve/tree"
)

// The exit codes.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitMissing     = 3
	exitMismatch    = 4
	exitInterrupted = 130
)

func exitCode(err error) int {
	var (
		asUsage    *cmdline.UsageError
		asSpec     spec.Errors
		asBuild    *assemble.SpecError
		asMissing  *assemble.MissingError
		asEngine   *engine.MissingError
		asSandbox  *sandbox.MissingError
		asRequest  *sandbox.RequestError
		asMismatch *layer.DigestError
		asDamaged  *memo.DamagedError
		asLock     *lockfile.MismatchError
		asStore    *assemble.StoreError
		asCache    *cache.DirError
		asBlob     *cache.MissingError
		asAbsent   *registry.NotFoundError
		asRef      *place.RefError
		asEnv      *place.EngineError
		asUnpinned *base.UnpinnedError
		asUnknown  *transfer.UnknownBaseError
		asInput    *dockertools.InputError
		asTree     *treefile.SourceError
	)
	switch {
	case errors.Is(err, cmdline.ErrInterrupted), errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &asMismatch), errors.As(err, &asDamaged), errors.As(err, &asLock), errors.As(err, &asStore):
		return exitMismatch
	case errors.As(err, &asMissing), errors.As(err, &asEngine), errors.As(err, &asBlob), errors.As(err, &asSandbox):
		return exitMissing
	case errors.As(err, &asCache):
		return exitFailed
	case errors.As(err, &asUsage), errors.As(err, &asSpec), errors.As(err, &asBuild), errors.As(err, &asRequest),
		errors.As(err, &asAbsent), errors.As(err, &asRef), errors.As(err, &asEnv), errors.As(err, &asUnpinned), errors.As(err, &asUnknown),
		errors.As(err, &asInput), errors.As(err, &asTree),
		errors.Is(err, engine.ErrNotFound):
		return exitUsage
	}
	return exitFailed
}

// explain adds to an error what to do next, and to a step's error the end of its
// output. It mentions that a step had no network only if nothing else is known.
func explain(err error) (hints []string, explained error) {
	var (
		failed  *sandbox.StepError
		limit   *sandbox.LimitError
		missing *sandbox.MissingError
		bound   *tree.LimitError
		read    *tree.ReadError
		kernel  *vm.KernelError
		hash    *dockertools.HashError
	)
	if hints := placeHints(err); len(hints) > 0 {
		return hints, err
	}
	switch {
	case errors.As(err, &read): // what was to be written with it is not at fault
		return nil, read
	case errors.As(err, &failed):
		hints = failed.Hints()
		if known := len(hints) > 0 && len(failed.LastLines) > 0; !known {
			hints = append(hints, offlineHints(failed)...)
		}
		return hints, withLastLines(err, failed.LastLines)
	case errors.As(err, &limit):
		return limitHints(limit.Bound), withLastLines(err, limit.LastLines)
	case errors.As(err, &kernel):
		return kernelHints(kernel), err
	case errors.As(err, &missing):
		return missing.Hints, err
	case errors.As(err, &hash):
		return []string{"its hash is " + dockertools.SRI(hash.Got)}, err
	case errors.As(err, &bound) && bound.Bound == tree.BoundBytes:
		return []string{"if the input is as it should be, raise the bound: --max-unpacked"}, err
	case errors.As(err, &bound) && bound.Bound == tree.BoundEntries:
		return []string{"if the input is as it should be, raise the bound: --max-entries"}, err
	}
	return nil, err
}

// placeHints say what to do about a place of images, or a base image.
func placeHints(err error) []string {
	var (
		ref      *place.RefError
		gone     *engine.MissingError
		unpinned *base.UnpinnedError
		platform *base.PlatformError
		unknown  *transfer.UnknownBaseError
		damaged  *base.DamagedError
		lies     *lockfile.MismatchError
		dir      *cache.DirError
		missing  *cache.MissingError
	)
	switch {
	case errors.As(err, &dir):
		return []string{"name another place with --cache DIR, or let a build do without: --no-cache"}
	case errors.As(err, &missing):
		return []string{"--locked fetches nothing: build once without it, which fills the cache, or name the cache with --cache DIR"}
	case errors.As(err, &lies):
		return []string{"see what changed " + lockfile.Name + "; varve lock SPEC writes what the image is"}
	case errors.As(err, &damaged):
		return []string{"--locked fetches nothing: build once without it, which mends the cache"}
	case errors.As(err, &unpinned):
		return []string{"varve lock SPEC pins it in varve.lock beside the spec", "or name it by digest: docker://…@sha256:…", "or give --unlocked to take what the tag names now"}
	case errors.As(err, &platform):
		return []string{"the image is wrong: if you know which of both is right, name the manifest by its digest, which is no index's"}
	case errors.As(err, &unknown) && unknown.New:
		return []string{"name one with --new-base"}
	case errors.As(err, &unknown):
		return []string{"name the image with --old-base"}
	case errors.As(err, &gone):
		return []string{gone.Hint}
	case errors.As(err, &ref):
		return ref.Hints
	}
	return nil
}

// offlineHints say that a failed step had no network, which its programs report in
// many ways, or not at all.
func offlineHints(failed *sandbox.StepError) []string {
	if !failed.Offline {
		return nil
	}
	return []string{"it had no network: if it needs one, write network: host and give --allow-network"}
}

// limitHints say how to raise a limit of a step.
func limitHints(b sandbox.Bound) []string {
	raise := fmt.Sprintf("if the script is as it should be, raise the limit: --max-step-%s", b)
	if b == sandbox.BoundDisk {
		raise += ", and diskSize for a virtual machine"
	}
	return []string{raise}
}

func withLastLines(err error, lines []string) error {
	if len(lines) == 0 {
		return fmt.Errorf("%w\nit wrote nothing", err)
	}
	return fmt.Errorf("%w\nthe end of what it wrote:\n%s", err, strings.Join(lines, "\n"))
}
