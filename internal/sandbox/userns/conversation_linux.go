//go:build amd64 || arm64

package userns

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"github.com/varve-image/varve/internal/lack"
	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/internal/sandbox/userns/kernel"
	"github.com/varve-image/varve/internal/sandbox/userns/protocol"
	"github.com/varve-image/varve/layer"
)

// conversation is the exchange of one step with the first process of its namespaces.
type conversation struct {
	runner *Runner
	step   *sandbox.Step
	ids    *identities
	dir    *workDir
	cfg    *protocol.Config

	process *process
	output  *output
	// These are our ends of pipes; stdin is nil where the step has no input, and stderr
	// where it goes to the same place as stdout.
	tree, changes, stdin, stdout, stderr *os.File
}

func (c *conversation) run(outer context.Context) (*sandbox.Result, error) {
	ctx, cancel := context.WithCancelCause(outer)
	defer cancel(nil)
	limits := c.step.Limits
	if limits.Time > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, limits.Time, c.limit(sandbox.LimitTime))
		defer stop()
	}
	c.output = &output{limit: limits.Output, exceeded: func() {
		cancel(c.limit(sandbox.LimitOutput))
	}}
	if err := c.start(); err != nil {
		return nil, err
	}
	defer c.process.kill()
	stop := context.AfterFunc(ctx, func() { _ = c.process.cmd.Process.Kill() })
	defer stop()

	var sent error
	var background sync.WaitGroup
	background.Go(func() { sent = c.sendTree(ctx) })
	background.Go(func() { c.output.copy(c.step.Stdout, c.stdout) })
	if c.stderr != nil {
		background.Go(func() { c.output.copy(c.step.Stderr, c.stderr) })
	}
	if c.stdin != nil {
		go c.sendInput()
	}
	if c.step.Terminal != nil {
		go c.followSizes()
	}
	// The end of the process is the end of what it sends, while the result's files are read
	// for as long as the caller wants.
	result, err := sandbox.ReadChanges(outer, c.step, c.changes, c.runner.opts)
	c.changes.Close()
	rep, told := c.readReport()
	<-c.process.done
	background.Wait()
	if cause := c.cause(ctx, rep, told, errors.Join(sent, err)); cause != nil {
		if result != nil {
			result.Close()
		}
		return nil, cause
	}
	return result, nil
}

// cause returns why there is no result: the first of all that went wrong, or nil.
func (c *conversation) cause(ctx context.Context, rep protocol.Report, told, err error) error {
	var limit *sandbox.LimitError
	switch cause := context.Cause(ctx); {
	case errors.As(cause, &limit):
		limit.LastLines = c.output.tail.Lines()
		return limit
	case cause != nil:
		return cause
	case told != nil:
		return fmt.Errorf("step %s: the sandbox ended early (%w)", c.step.Name, errors.Join(c.process.err, told))
	case errors.As(err, &limit):
		limit.LastLines = c.output.tail.Lines()
		return limit
	case rep.Failed() && !(rep.Unread && err != nil): // otherwise we have ended the step ourselves
		return c.failed(rep)
	case err != nil:
		return fmt.Errorf("step %s: %w", c.step.Name, err)
	}
	return nil
}

// failed returns the error that a report stands for.
func (c *conversation) failed(rep protocol.Report) error {
	lines := c.output.tail.Lines()
	switch {
	case rep.Missing:
		return &lack.Error{Err: fmt.Errorf("step %s: %s", c.step.Name, rep.Error), Hints: rep.Hints}
	case rep.Error != "":
		return fmt.Errorf("step %s: %s", c.step.Name, rep.Error)
	case rep.Signal == int(syscall.SIGXFSZ) || rep.ExitCode == 128+int(syscall.SIGXFSZ): // a file reached the limit
		limit := c.limit(sandbox.LimitDisk)
		limit.LastLines = lines
		return limit
	case rep.Limit != "":
		limit := c.limit(rep.Limit)
		limit.File, limit.Size, limit.Unseen, limit.LastLines = rep.File, rep.Size, rep.Unseen, lines
		return limit
	case rep.Signal != 0:
		return &sandbox.StepError{Name: c.step.Name, Root: c.step.Root, ExitCode: -1, Signal: syscall.Signal(rep.Signal), LastLines: lines}
	}
	return &sandbox.StepError{Name: c.step.Name, Root: c.step.Root, ExitCode: rep.ExitCode, LastLines: lines}
}

func (c *conversation) limit(which sandbox.Limit) *sandbox.LimitError {
	return &sandbox.LimitError{Name: c.step.Name, Limit: which, Limits: c.cfg.Limits}
}

// start makes the pipes and starts the process.
func (c *conversation) start() (err error) {
	var p pipes
	p.ids = c.ids
	defer func() {
		if err != nil {
			closeAll(p.all...)
		}
	}()
	treeIn, tree := p.make()
	changes, changesOut := p.make()
	stdio := c.stdio(&p)
	if p.err != nil {
		return fmt.Errorf("step %s: %w", c.step.Name, p.err)
	}
	c.tree, c.changes = tree, changes
	files := []*os.File{treeIn, changesOut}
	if c.ids.others {
		files = append(files, c.cloneTrees(&p)...)
	}
	if c.cfg.WorkDev, c.cfg.WorkIno, err = c.dir.identity(); err != nil {
		return fmt.Errorf("step %s: %w", c.step.Name, err)
	}
	// Passed by name, since open files belong to the machine's mount namespace.
	c.process, err = startProcess(c.cfg, c.ids, c.dir.path, stdio, files...)
	return err
}

// cloneTrees opens what the step is to see of the machine, with the rights of root, which
// the first process does not have. Whatever cannot be opened here, that process reports.
func (c *conversation) cloneTrees(p *pipes) []*os.File {
	var files []*os.File
	c.cfg.Opened = map[string]int{}
	for _, source := range c.cfg.Sources() {
		fd, err := kernel.CloneTree(source)
		if err != nil {
			continue
		}
		f := os.NewFile(uintptr(fd), source)
		p.all = append(p.all, f)
		files = append(files, f)
		c.cfg.Opened[source] = protocol.FDChanges + len(files)
	}
	return files
}

// pipes remembers what was opened, and the first error.
type pipes struct {
	ids *identities
	all []*os.File
	err error
}

func (p *pipes) make() (r, w *os.File) {
	if p.err == nil {
		r, w, p.err = os.Pipe()
		p.all = append(p.all, r, w)
	}
	if p.err == nil && p.ids.others {
		// So that the step can open it again, as /dev/stdout.
		p.err = r.Chown(p.ids.uid, p.ids.gid)
	}
	return r, w
}

// sendTree sends the tree as a tar.
func (c *conversation) sendTree(ctx context.Context) error {
	defer c.tree.Close()
	w := layer.NewWriter(c.tree, layer.GNU, "")
	for _, e := range c.step.Tree {
		if err := w.Write(ctx, e); err != nil {
			return fmt.Errorf("unpack its tree: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("unpack its tree: %w", err)
	}
	return nil
}

// sendInput copies until the step or the input ends. It does not wait for the caller's
// reader.
func (c *conversation) sendInput() {
	_, _ = io.Copy(c.stdin, c.step.Stdin)
	c.stdin.Close()
}

func (c *conversation) readReport() (protocol.Report, error) {
	var rep protocol.Report
	err := json.NewDecoder(c.process.control).Decode(&rep)
	return rep, err
}

// output passes on what the step writes.
type output struct {
	mu       sync.Mutex
	tail     sandbox.Tail
	bytes    int64
	limit    int64 // 0 means none
	exceeded func()
	failed   bool // a writer of the caller failed
}

// copy copies to w, which may be nil, until r ends.
func (o *output) copy(w io.Writer, r *os.File) {
	defer r.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		o.write(w, buf[:n])
		if err != nil {
			return
		}
	}
}

func (o *output) write(w io.Writer, p []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.bytes += int64(len(p)); o.limit > 0 && o.bytes > o.limit {
		o.exceeded()
		return
	}
	_, _ = o.tail.Write(p) // never fails
	if w != nil && !o.failed {
		_, err := w.Write(p)
		o.failed = err != nil
	}
}
