// Package explain says what an error means to who typed the command: the exit code, what to do
// next, and the flags for options that libraries name.
package explain

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
	"github.com/varve-image/varve/internal/lack"
	"github.com/varve-image/varve/internal/memo"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/internal/place/engine"
	"github.com/varve-image/varve/internal/place/hybrid"
	"github.com/varve-image/varve/internal/place/registry"
	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/internal/sandbox/vm"
	"github.com/varve-image/varve/internal/transfer"
	"github.com/varve-image/varve/internal/treefile"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/spec"
	"github.com/varve-image/varve/tree"
)

// Done is the exit code of a command without an error.
const Done = 0

// The other exit codes.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitMissing     = 3
	exitMismatch    = 4
	exitInterrupted = 130
)

// ExitCode returns the exit code for an error.
func ExitCode(err error) int {
	switch {
	case errors.Is(err, cmdline.ErrInterrupted), errors.Is(err, context.Canceled):
		return exitInterrupted
	case is[*layer.DigestError](err), is[*memo.DamagedError](err), is[*lockfile.MismatchError](err), is[*assemble.StoreError](err):
		return exitMismatch
	case is[*lack.Error](err), is[*cache.AbsentError](err):
		return exitMissing
	case is[*cache.DirError](err):
		return exitFailed
	case is[*cmdline.UsageError](err), is[spec.Errors](err), is[*assemble.SpecError](err), is[*sandbox.RequestError](err),
		is[*registry.NotFoundError](err), is[*place.RefError](err), is[*place.EngineError](err), is[*base.UnpinnedError](err),
		is[*transfer.UnknownBaseError](err), is[*dockertools.InputError](err), is[*treefile.SourceError](err),
		errors.Is(err, engine.ErrNotFound):
		return exitUsage
	}
	return exitFailed
}

// is reports whether err is, or wraps, an error of type E.
func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// Hints adds to an error what to do next, and to a step's error the end of its
// output. It mentions that a step had no network only if nothing else is known.
func Hints(err error) (hints []string, explained error) {
	var (
		failed  *sandbox.StepError
		limit   *sandbox.LimitError
		missing *lack.Error
		reached *tree.LimitError
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
		return limitHints(limit.Limit), withLastLines(err, limit.LastLines)
	case errors.As(err, &kernel):
		return kernelHints(kernel), err
	case errors.As(err, &missing):
		return missing.Hints, err
	case errors.As(err, &hash):
		return []string{"its hash is " + dockertools.SRI(hash.Got)}, err
	case errors.As(err, &reached) && reached.Limit == tree.LimitBytes:
		return []string{"if the input is as it should be, raise the limit: --max-unpacked"}, err
	case errors.As(err, &reached) && reached.Limit == tree.LimitEntries:
		return []string{"if the input is as it should be, raise the limit: --max-entries"}, err
	}
	return nil, err
}

// placeHints say what to do about a place of images, or a base image.
func placeHints(err error) []string {
	var (
		ref     *place.RefError
		unknown *transfer.UnknownBaseError
	)
	switch {
	case is[*cache.DirError](err):
		return []string{"name another place with --cache DIR, or let a build do without: --no-cache"}
	case is[*cache.AbsentError](err):
		return []string{"--locked fetches nothing: build once without it, which fills the cache, or name the cache with --cache DIR"}
	case is[*lockfile.MismatchError](err):
		return []string{"see what changed " + lockfile.Name + "; varve lock SPEC writes what the image is"}
	case is[*hybrid.ContradictionError](err):
		return []string{"say which of them is meant: docker-archive:FILE is read as docker load reads it, and oci-archive:FILE as an OCI layout"}
	case is[*base.DamagedError](err):
		return []string{"--locked fetches nothing: build once without it, which mends the cache"}
	case is[*base.UnpinnedError](err):
		return []string{"varve lock SPEC pins it in varve.lock beside the spec", "or name it by digest: docker://…@sha256:…", "or give --unlocked to take what the tag names now"}
	case is[*base.PlatformError](err):
		return []string{"the image is wrong: if you know which of both is right, name the manifest by its digest, which is not an index's"}
	case errors.As(err, &unknown) && unknown.New:
		return []string{"name one with --new-base"}
	case errors.As(err, &unknown):
		return []string{"name the image with --old-base"}
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
func limitHints(b sandbox.Limit) []string {
	raise := fmt.Sprintf("if the script is as it should be, raise the limit: --max-step-%s", b)
	if b == sandbox.LimitDisk {
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
