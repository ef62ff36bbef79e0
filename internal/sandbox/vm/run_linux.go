//go:build amd64

package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/varve-image/varve/internal/atomicfile"
	"github.com/varve-image/varve/internal/ctxio"
	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/layer"
)

// files are the files that a virtual machine is started with. They have no names.
type files struct {
	initramfs, disk, tree, changes *os.File
}

func (f *files) close() {
	for _, file := range []*os.File{f.initramfs, f.disk, f.tree, f.changes} {
		if file != nil {
			file.Close()
		}
	}
}

func (r *Runner) run(ctx context.Context, step *sandbox.Step) (*sandbox.Result, error) {
	qemu, err := lookPath("qemu-system-x86_64", "qemu-system-x86")
	if err != nil {
		return nil, err
	}
	mke2fs, err := lookPath("mke2fs", "e2fsprogs")
	if err != nil {
		return nil, err
	}
	k, err := findKernel(r.opts)
	if err != nil {
		return nil, err
	}
	f := &files{}
	defer f.close()
	req, err := describe(step)
	if err != nil {
		return nil, err
	}
	if err := r.prepare(ctx, step, mke2fs, k, f, req); err != nil {
		return nil, fmt.Errorf("step %s: prepare a virtual machine: %w", step.Name, err)
	}
	running, cancel := context.WithCancelCause(ctx) // the result is read for longer
	defer cancel(nil)
	m, err := startMachine(running, cancel, qemu, k, step, f, req.Shares)
	if err != nil {
		return nil, fmt.Errorf("step %s: start a virtual machine: %w", step.Name, err)
	}
	defer m.stop()
	rep, err := r.converse(running, cancel, m, step, req.Changes)
	if err != nil {
		return nil, err
	}
	m.stop()
	if _, err := f.changes.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return sandbox.ReadChanges(ctx, step, io.LimitReader(f.changes, rep.Changes), r.opts.Options)
}

// lookPath finds a program that belongs to a Debian package.
func lookPath(name, pkg string) (string, error) {
	for _, dir := range []string{"", "/usr/sbin/", "/sbin/"} {
		if p, err := exec.LookPath(dir + name); err == nil {
			return p, nil
		}
	}
	return "", missing(fmt.Errorf("there is no %s for a virtual machine", name), "install it: Debian's package "+pkg+" has it", "or use isolation: userns")
}

// describe makes a request from a step: each part of the host that the step sees is a
// share.
func describe(step *sandbox.Step) (*request, error) {
	req := &request{Step: *step, Stdin: step.Stdin != nil, OneOutput: step.Stdout == step.Stderr}
	s := &req.Step
	s.Tree, s.Stdin, s.Stdout, s.Stderr, s.Terminal = nil, nil, nil, nil, nil
	s.Limits.Time = 0 // the host's clock counts
	if step.Terminal != nil {
		req.Terminal = &step.Terminal.Size
	}
	if step.Root == sandbox.HostTools {
		view, err := sandbox.HostView(step.Tools)
		if err != nil {
			return nil, fmt.Errorf("step %s: %w", step.Name, err)
		}
		for _, f := range view {
			if f.Link != "" {
				req.Links = append(req.Links, link{f.Path, f.Link})
			} else {
				req.Shares = append(req.Shares, share{f.Path, f.Source})
			}
		}
	}
	s.Binds = nil
	for i, b := range step.Binds {
		at := bindsDir + "/" + strconv.Itoa(i)
		req.Shares = append(req.Shares, share{at, b.Source})
		s.Binds = append(s.Binds, sandbox.Bind{Source: at, Target: b.Target})
	}
	return req, nil
}

// prepare makes the files that the virtual machine is started with.
func (r *Runner) prepare(ctx context.Context, step *sandbox.Step, mke2fs string, k kernel, f *files, req *request) error {
	program := r.opts.Init
	if program == "" {
		program = "/proc/self/exe"
	}
	if err := checkStatic(program); err != nil {
		return err
	}
	for _, file := range []**os.File{&f.initramfs, &f.disk, &f.tree, &f.changes} {
		var err error
		if *file, err = atomicfile.Unnamed(r.opts.TempDir); err != nil {
			return err
		}
	}
	req.Changes = changesSize(step.VM.Disk)
	if err := errors.Join(f.disk.Truncate(step.VM.Disk), f.changes.Truncate(req.Changes)); err != nil {
		return err
	}
	if err := makeFileSystem(ctx, mke2fs, f.disk); err != nil {
		return err
	}
	var err error
	if req.Tree, err = writeTree(ctx, f.tree, step); err != nil {
		return err
	}
	if req.Modules, err = k.moduleFiles(); err != nil {
		return err
	}
	return writeInitramfs(f.initramfs, program, k, req)
}

// changesSize returns the size of the disk for a layer: the headers of small files take
// more than the files. It takes no space until something is written.
func changesSize(disk int64) int64 { return 2*disk + 64<<20 }

// makeFileSystem makes an ext4 file system.
func makeFileSystem(ctx context.Context, mke2fs string, disk *os.File) error {
	cmd := exec.CommandContext(ctx, mke2fs, "-q", "-F", "-t", "ext4", "-m", "0", "-O", "^has_journal", "-E", "lazy_itable_init=1", "/proc/self/fd/3")
	cmd.ExtraFiles = []*os.File{disk}
	cmd.Env = []string{"LC_ALL=C", "MKE2FS_SYNC=0"}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("mke2fs: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// writeTree writes the step's tree as a tar, padded to a multiple of a disk's sector.
func writeTree(ctx context.Context, f *os.File, step *sandbox.Step) (int64, error) {
	w := layer.NewWriter(f, layer.GNU, "./")
	for _, e := range step.Tree {
		if err := w.Write(ctx, e); err != nil {
			return 0, err
		}
	}
	if err := w.Close(); err != nil {
		return 0, err
	}
	return f.Seek(0, io.SeekCurrent)
}

// converse talks to the guest until it reports.
func (r *Runner) converse(ctx context.Context, cancel context.CancelCauseFunc, m *machine, step *sandbox.Step, changes int64) (*report, error) {
	stop := context.AfterFunc(ctx, m.kill)
	defer stop()
	boot := time.AfterFunc(r.opts.BootTime, func() {
		cancel(fmt.Errorf("step %s: the virtual machine did not start within %v%s", step.Name, r.opts.BootTime, m.consoleText()))
	})
	defer boot.Stop()
	c := &conversation{step: step, cancel: cancel, changes: changes}
	rep, err := c.read(ctx, m.port, boot)
	switch cause := context.Cause(ctx); {
	case cause != nil:
		var limit *sandbox.LimitError
		if errors.As(cause, &limit) {
			limit.LastLines = c.tail.Lines()
		}
		return nil, cause
	case err != nil:
		m.stop()
		return nil, fmt.Errorf("step %s: %w%s", step.Name, err, m.consoleText())
	}
	return rep, rep.err(step, c.tail.Lines())
}

// sendInput passes on standard input until the step is done.
func sendInput(ctx context.Context, step *sandbox.Step, frames *frameWriter) {
	_, err := io.Copy(stream{frames, frameStdin}, ctxio.Reader(ctx, step.Stdin))
	if err == nil {
		_ = frames.write(frameStdin, nil) // a guest that is gone needs no end
	}
}

// sendSizes passes on the terminal's new sizes.
func sendSizes(ctx context.Context, t *sandbox.Terminal, frames *frameWriter) {
	for {
		select {
		case <-ctx.Done():
			return
		case size, open := <-t.Resize:
			if !open || frames.writeJSON(frameResize, size) != nil {
				return
			}
		}
	}
}
