package nixstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os/exec"
	"strings"
	"time"
)

// Ask returns what Nix's own programs say about store paths of this machine and
// everything they refer to: "nix path-info", or in older versions "nix-store". They
// are found in PATH.
func Ask(ctx context.Context, storeDir string, roots []string) ([]PathInfo, error) {
	dir, err := cleanStoreDir(storeDir)
	if err != nil {
		return nil, err
	}
	if len(roots) == 0 { // without arguments the programs would do something else
		return []PathInfo{}, nil
	}
	a := asker{ctx, dir, maxArguments}
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
	// most limits the store paths that are passed to a program at once, in bytes.
	most int
}

// pathInfo does not use --json-format, which versions before 2.33 do not know.
// Later versions then write the old format; one that refuses leaves it to dump.
func (a asker) pathInfo(roots []string) ([]PathInfo, error) {
	var infos []PathInfo
	seen := map[string]bool{}
	for some := range batches(roots, a.most) {
		out, err := a.run("nix", append([]string{"--extra-experimental-features", "nix-command", "path-info", "--json", "--recursive", "--"}, some...)...)
		if err != nil {
			return nil, err
		}
		closure, err := ReadGraph(a.storeDir, bytes.NewReader(out))
		if err != nil {
			return nil, fmt.Errorf("nix path-info: %w", err)
		}
		for _, info := range closure {
			if !seen[info.Path] {
				seen[info.Path] = true
				infos = append(infos, info)
			}
		}
	}
	return infos, nil
}

func (a asker) dump(roots []string) ([]PathInfo, error) {
	out, err := a.runEach("nix-store", "--query --requisites", roots)
	if err != nil {
		return nil, err
	}
	if out, err = a.runEach("nix-store", "--dump-db", sortedSet(strings.Fields(string(out)))); err != nil {
		return nil, err
	}
	infos, err := ReadRegistration(a.storeDir, bytes.NewReader(out))
	if err != nil {
		return nil, fmt.Errorf("nix-store --dump-db: %w", err)
	}
	return infos, nil
}

// runEach runs a program with options and store paths, once for each batch of
// these, and returns everything it writes.
func (a asker) runEach(program, options string, paths []string) ([]byte, error) {
	var all []byte
	for some := range batches(paths, a.most) {
		out, err := a.run(program, append(strings.Fields(options), some...)...)
		if err != nil {
			return nil, err
		}
		all = append(all, out...)
	}
	return all, nil
}

// batches divides paths, in order, into lists of up to most bytes, but at least
// one path each.
func batches(paths []string, most int) iter.Seq[[]string] {
	return func(yield func([]string) bool) {
		for rest := paths; len(rest) > 0; {
			n, size := 1, len(rest[0])
			for n < len(rest) && size+1+len(rest[n]) <= most {
				size += 1 + len(rest[n])
				n++
			}
			if !yield(rest[:n]) {
				return
			}
			rest = rest[n:]
		}
	}
}

const (
	// maxArguments is a safe size, in bytes, for a program's arguments: Linux
	// allows 2 MiB, macOS 1 MiB with the environment.
	maxArguments = 128 << 10
	// maxAnswer limits a program's output, in bytes, and maxComplaint how much of
	// its error output is reported.
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

// limited holds a limited number of bytes. Beyond them it discards bytes if cut is
// set, and refuses them otherwise.
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
