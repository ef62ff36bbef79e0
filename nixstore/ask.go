package nixstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// Ask returns what Nix's own programs say of store paths of this machine and all
// that they refer to: "nix path-info", or in older versions "nix-store". They
// are found by PATH.
func Ask(ctx context.Context, storeDir string, roots []string) ([]PathInfo, error) {
	dir, err := cleanStoreDir(storeDir)
	if err != nil {
		return nil, err
	}
	a := asker{ctx, dir}
	infos, err := a.pathInfo(roots)
	if err == nil {
		return infos, nil
	}
	older, olderErr := a.dump(roots)
	if olderErr == nil {
		return older, nil
	}
	return nil, errors.Join(err, olderErr)
}

// asker runs Nix's programs.
type asker struct {
	ctx      context.Context
	storeDir string
}

func (a asker) pathInfo(roots []string) ([]PathInfo, error) {
	out, err := a.run("nix", append([]string{"--extra-experimental-features", "nix-command", "path-info", "--json", "--recursive", "--"}, roots...)...)
	if err != nil {
		return nil, err
	}
	infos, err := ReadGraph(a.storeDir, bytes.NewReader(out))
	if err != nil {
		return nil, fmt.Errorf("nix path-info: %w", err)
	}
	return infos, nil
}

func (a asker) dump(roots []string) ([]PathInfo, error) {
	out, err := a.run("nix-store", append([]string{"--query", "--requisites"}, roots...)...)
	if err != nil {
		return nil, err
	}
	if out, err = a.run("nix-store", append([]string{"--dump-db"}, strings.Fields(string(out))...)...); err != nil {
		return nil, err
	}
	infos, err := ReadRegistration(a.storeDir, bytes.NewReader(out))
	if err != nil {
		return nil, fmt.Errorf("nix-store --dump-db: %w", err)
	}
	return infos, nil
}

const (
	// maxAnswer bounds what a program may say, in bytes, and maxComplaint what
	// of its errors is told.
	maxAnswer    = 512 << 20
	maxComplaint = 2 << 10
	// grace is how long a program that was ended may keep its outputs open.
	grace = time.Second
)

// run runs a program and returns what it writes.
func (a asker) run(program string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(a.ctx, program, args...)
	cmd.WaitDelay = grace
	out, complaint := &limited{most: maxAnswer}, &limited{most: maxComplaint, cut: true}
	cmd.Stdout, cmd.Stderr = out, complaint
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case a.ctx.Err() != nil:
		return nil, a.ctx.Err()
	case errors.As(err, &exit):
		return nil, fmt.Errorf("%s ends with code %d: %q", program, exit.ExitCode(), strings.TrimSpace(complaint.String()))
	case err != nil:
		return nil, fmt.Errorf("%s: %w", program, err)
	}
	return out.Bytes(), nil
}

// limited holds at most so many bytes. With cut it forgets the others, without
// it refuses them.
type limited struct {
	bytes.Buffer
	most int
	cut  bool
}

func (l *limited) Write(p []byte) (int, error) {
	n := len(p)
	if left := l.most - l.Len(); n > left {
		if !l.cut {
			return 0, fmt.Errorf("more than %d MiB of output", l.most>>20)
		}
		p = p[:left]
	}
	l.Buffer.Write(p)
	return n, nil
}
