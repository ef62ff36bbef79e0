//go:build amd64 || arm64

package userns

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/internal/sandbox/userns/protocol"
)

func (r *Runner) run(ctx context.Context, step *sandbox.Step) (_ *sandbox.Result, err error) {
	temp := r.opts.TempDir
	if temp == "" {
		temp = os.TempDir()
	}
	reclaim(temp)
	cfg, err := configOf(step)
	if err != nil {
		return nil, err
	}
	ids, err := chooseIDs(step.FakeRoot)
	if err != nil {
		return nil, fmt.Errorf("step %s: %w", step.Name, err)
	}
	dir, err := newWorkDir(temp, ids)
	if err != nil {
		return nil, fmt.Errorf("step %s: %w", step.Name, err)
	}
	defer func() { err = errors.Join(err, dir.remove()) }()
	c := &conversation{runner: r, step: step, ids: ids, dir: dir, cfg: cfg}
	return c.run(ctx)
}

// configOf returns what the first process has to know about a step.
func configOf(step *sandbox.Step) (*protocol.Config, error) {
	cfg := &protocol.Config{
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
