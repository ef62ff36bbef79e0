package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Targets for the cost of a step over a build without one, on a quiet machine.
const (
	stepTarget = 60 * time.Millisecond
	vmTarget   = 10 * time.Second // if the processor is emulated
)

// compareSteps measures what a script that does nothing costs, in namespaces and in
// a virtual machine, over a build without it. The base image contains only busybox.
func (b *bench) compareSteps(ctx context.Context) error {
	dir := filepath.Join(b.work, "steps")
	if err := writeSteps(dir); err != nil {
		return err
	}
	out := filepath.Join(dir, "out.tar")
	defer os.Remove(out)
	base := filepath.Join(dir, "base.tar")
	build := func(args ...string) (time.Duration, error) {
		took, _, err := b.runVarve(ctx, append([]string{"build", "--name", "steps"}, args...))
		return took, err
	}
	if _, err := build("--copy", filepath.Join(dir, "tree"), "--keep-contents-dirlinks", "-o", base); err != nil {
		return err
	}
	fmt.Println("steps: a script that does nothing, over a build without it")
	plain := []string{"--from", base, "--copy", filepath.Join(dir, "file"), "-o", out}
	step := append([]string{"--run-as-root", ":"}, plain...)
	for _, c := range []struct {
		name   string
		args   []string
		runs   int
		target time.Duration
	}{
		{"namespaces", step, 4 * b.runs, stepTarget},
		{"virtual machine", append([]string{"--isolation", "vm"}, step...), b.runs, vmTarget},
	} {
		var without, with []time.Duration
		for range c.runs + 1 { // the first run of each fills the page cache
			x, err := build(plain...)
			if err != nil {
				return err
			}
			y, err := build(c.args...)
			if err != nil {
				return err
			}
			without, with = append(without, x), append(with, y)
		}
		x, y := median(without[1:]), median(with[1:])
		fmt.Printf("  %-22s %6.3f s   without %6.3f s   cost %6.3f s   target %.3f s\n",
			c.name, y.Seconds(), x.Seconds(), (y - x).Seconds(), c.target.Seconds())
	}
	return nil
}

// writeSteps writes the base image's tree and a file to add.
func writeSteps(dir string) error {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return err
	}
	program, err := os.ReadFile(busybox)
	if err != nil {
		return err
	}
	bin := filepath.Join(dir, "tree", "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(bin, "sh"), program, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "file"), []byte("a file\n"), 0o644)
}
