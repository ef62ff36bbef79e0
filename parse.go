package varve

import (
	"cmp"
	"context"
	"errors"
	"io"
	"path/filepath"
	"runtime"

	"github.com/varve-image/varve/internal/assemble"
	"github.com/varve-image/varve/internal/base"
	"github.com/varve-image/varve/internal/base/lockfile"
	"github.com/varve-image/varve/spec"
)

// ParseFile reads the spec in a file, for Options.Platform or, if that is empty, for the spec's
// own platform or this machine's. Relative paths in it start at the file's folder. The varve.lock
// beside it, or Options.Lock, says which version of layers it gets if it names none.
func ParseFile(name string, opts *Options) (*spec.Spec, error) {
	specOpts, err := opts.spec(lockBeside(name))
	if err != nil {
		return nil, err
	}
	return spec.ParseFile(name, specOpts)
}

// Parse is like ParseFile, but reads the spec from a reader. Relative paths in it start at the
// working directory.
func Parse(r io.Reader, opts *Options) (*spec.Spec, error) {
	specOpts, err := opts.spec("")
	if err != nil {
		return nil, err
	}
	return spec.Parse(r, specOpts)
}

// spec says how to read a spec. lock is its varve.lock unless Options.Lock names one.
func (o *Options) spec(lock string) (spec.Options, error) {
	all := o.orDefault()
	p, err := all.platform()
	opts := spec.Options{Architecture: runtime.GOARCH, Platform: spec.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant}}
	if lock = cmp.Or(all.Lock, lock); err != nil || lock == "" {
		return opts, err
	}
	locked, err := base.ReadLock(lock)
	if err == nil {
		opts.LayerFormat = locked.LayerFormat
	}
	return opts, err
}

func lockBeside(spec string) string { return filepath.Join(filepath.Dir(spec), lockfile.Name) }

// openPlan returns what reads the plan of a spec.
func (o *Options) openPlan(bases *base.Resolver) assemble.OpenPlanFunc {
	return func(ctx context.Context, ref spec.Base) ([][]string, error) {
		if ref.Reference == spec.PreviousAuto {
			return nil, errors.New("auto is the image that is replaced, which Build does not know: name it")
		}
		plan, err := bases.Plan(ctx, ref, o.Lock)
		if err != nil {
			return nil, err
		}
		return plan.Layers, nil
	}
}
