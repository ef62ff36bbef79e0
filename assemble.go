package varve

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"runtime"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/assemble"
	"github.com/varve-image/varve/internal/base"
	"github.com/varve-image/varve/internal/memo"
	"github.com/varve-image/varve/internal/nixstore/nixstate"
	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/internal/sandbox/userns"
	"github.com/varve-image/varve/internal/sandbox/vm"
	"github.com/varve-image/varve/spec"
)

func (o *Options) assemble(bases *base.Resolver, remembered *memo.Memo) assemble.Options {
	return assemble.Options{
		Root: o.Root, StoreRoot: o.StoreRoot, Architecture: runtime.GOARCH,
		SourceDateEpoch: o.SourceDateEpoch, Now: o.Now, TempDir: o.TempDir,
		MaxUnpacked: o.MaxUnpacked, MaxEntries: o.MaxEntries, Databases: nixstate.Registered(), Memo: remembered,
		OpenBase: func(ctx context.Context, ref spec.Base) (*image.Stored, error) { return bases.Open(ctx, ref, o.Lock) },
		Steps: assemble.Steps{
			Runner: func(i spec.Isolation) (sandbox.Runner, error) {
				opts := sandbox.Options{TempDir: o.TempDir}
				if i == spec.VM {
					return vm.New(vm.Options{Options: opts, Kernel: o.Steps.Kernel}), nil
				}
				return userns.New(opts), nil
			},
			AllowNetwork: o.Steps.AllowNetwork, Limits: o.Steps.limits(), Output: o.Steps.output(),
			Reused: o.Steps.reused(),
		},
	}
}

func (s Steps) limits() sandbox.Limits {
	return sandbox.Limits{
		Time: cmp.Or(s.Time, sandbox.DefaultTime), Memory: cmp.Or(s.Memory, sandbox.DefaultMemory()),
		Disk: s.Disk, Output: cmp.Or(s.Output, sandbox.DefaultOutput), Processes: s.Processes,
	}
}

// output returns a function that opens the writer for a script's output, or nil to discard it.
func (s Steps) output() func(name string) io.WriteCloser {
	if s.Log == nil {
		return nil
	}
	return func(name string) io.WriteCloser {
		return &sandbox.Lines{Show: func(line string) { fmt.Fprintf(s.Log, "%s: %s\n", name, line) }}
	}
}

// reused returns a function that says of a script that it is not run, or nil to say nothing.
func (s Steps) reused() func(name string) {
	if s.Log == nil {
		return nil
	}
	return func(name string) {
		fmt.Fprintf(s.Log, "%s: not run: nothing that it sees has changed since it last ran\n", name)
	}
}

// memo opens what was computed for earlier images; nil remembers nothing.
func (o *Options) memo(ctx context.Context) *memo.Memo {
	if o.Cache == "" {
		return nil
	}
	return memo.Open(ctx, o.Cache, func(err error) {
		if o.Warn != nil {
			o.Warn(err.Error())
		}
	})
}
