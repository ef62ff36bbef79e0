//go:build amd64 || arm64

package userns

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/varve-image/varve/sandbox"
)

func (r *Runner) run(ctx context.Context, step *sandbox.Step) (*sandbox.Result, error) {
	temp := r.opts.TempDir
	if temp == "" {
		temp = os.TempDir()
	}
	reclaim(temp)
	// What a filter keeps from being on disk has to be recorded.
	result, err := r.runAs(ctx, step, temp, !refusedOutside())
	var noRange rangeError
	if errors.As(err, &noRange) {
		return r.runAs(ctx, step, temp, false)
	}
	return result, err
}

// runAs runs a step, with a range of ids if many and if there is one.
func (r *Runner) runAs(ctx context.Context, step *sandbox.Step, temp string, many bool) (_ *sandbox.Result, err error) {
	cfg, err := configOf(step)
	if err != nil {
		return nil, err
	}
	ids, err := chooseIDs(step.FakeRoot, many)
	if err == nil && !ids.single() && !ids.cover(step.Tree) {
		ids, err = chooseIDs(step.FakeRoot, false) // owners are recorded then
	}
	if err != nil {
		return nil, err
	}
	dir, err := newWorkDir(temp, ids)
	if err != nil {
		return nil, fmt.Errorf("step %s: %w", step.Name, err)
	}
	defer func() { err = errors.Join(err, dir.remove()) }()
	c := &conversation{runner: r, step: step, ids: ids, dir: dir, cfg: cfg}
	return c.run(ctx)
}

// configOf is what the first process has to know of a step.
func configOf(step *sandbox.Step) (*config, error) {
	cfg := &config{
		Name: step.Name, Root: step.Root, Dir: step.WorkDir(), Argv: step.Argv, Script: step.Script, Env: step.Env,
		FakeRoot: step.FakeRoot, Terminal: step.Terminal != nil, Binds: step.Binds, Network: step.Network, Limits: step.Limits.WithDefaults(),
	}
	if step.Root == sandbox.HostTools {
		var err error
		if cfg.Host, err = sandbox.HostView(step.Tools); err != nil {
			return nil, fmt.Errorf("step %s: %w", step.Name, err)
		}
	}
	return cfg, nil
}
