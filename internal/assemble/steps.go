package assemble

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/varve-image/varve/internal/nixstore"
	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/spec"
	"github.com/varve-image/varve/tree"
)

// Steps is how the scripts of a spec are run.
type Steps struct {
	// Runner returns the runner for a kind of isolation.
	Runner func(spec.Isolation) (sandbox.Runner, error)
	// AllowNetwork lets a spec ask for the machine's network.
	AllowNetwork bool
	// Limits bound each step.
	Limits sandbox.Limits
	// Output returns what gets the output of the step called name, as it comes.
	// It is closed when the step has ended. Nil throws it away.
	Output func(name string) io.WriteCloser
}

func (s *Steps) output(name string) io.WriteCloser {
	if s.Output == nil {
		return nowhere{io.Discard}
	}
	return s.Output(name)
}

type nowhere struct{ io.Writer }

func (nowhere) Close() error { return nil }

// checkSteps refuses scripts that could not be run, before anything is read.
func (b *builder) checkSteps() error {
	if b.spec.HasSteps() && b.opts.Steps.Runner == nil {
		return &SpecError{"runAsRoot, extraCommands, fakeRootCommands", errors.New("scripts are not run here")}
	}
	return nil
}

// runAsRoot runs the script of that name in the image as it is so far, and
// returns the top tree with what it changed: its deletions are whiteouts.
func (b *builder) runAsRoot(top []*tree.Entry) ([]*tree.Entry, error) {
	lower := b.below
	if _, err := b.onto(top, conflicts(b.spec.Conflicts)); err != nil {
		return nil, specError("conflicts", err)
	}
	if b.base != nil {
		if err := b.base.overlay.Spool(b.ctx); err != nil {
			return nil, fmt.Errorf("fromImage: %w", err)
		}
	}
	res, err := b.run(&sandbox.Step{Name: "runAsRoot", Script: b.spec.RunAsRoot, Root: sandbox.ImageRoot, FakeRoot: true, Tree: b.below})
	if err != nil {
		return nil, err
	}
	for _, e := range res.Changes {
		e.ModTime = b.spec.TreeMTime
	}
	// What the script made of the explicit layers' files is no conflict.
	b.below, b.own = res.Tree, nil
	changed, err := tree.Diff(b.ctx, lower, res.Tree)
	if err != nil {
		return nil, specError("runAsRoot", err)
	}
	for i, e := range changed { // the directories that lead there are the base's own
		c := *e
		changed[i] = &c
	}
	return changed, nil
}

// runOnTree runs the scripts that work on the top tree by itself.
func (b *builder) runOnTree(top []*tree.Entry) (_ []*tree.Entry, err error) {
	s := b.spec
	if s.ExtraCommands != "" {
		step := &sandbox.Step{Name: "extraCommands", Script: s.ExtraCommands, Root: sandbox.HostTools}
		if top, err = b.runOn(top, step); err != nil {
			return nil, err
		}
	}
	if s.FakeRootCommands == "" {
		return top, nil
	}
	step := &sandbox.Step{Name: "fakeRootCommands", Script: s.FakeRootCommands, Root: sandbox.HostTools, FakeRoot: true}
	if s.EnableFakechroot {
		step.Root = sandbox.ImageRoot
	}
	if top, err = b.runOn(top, step); err != nil || !s.EnableFakechroot {
		return top, err
	}
	// As dockerTools, which packs the directory that it mounted these in.
	return tree.Without(top, "proc", "sys", strings.TrimPrefix(s.StoreDir, "/")), nil
}

// runOn runs a step on a tree that may hold whiteouts, which it does not see.
func (b *builder) runOn(top []*tree.Entry, step *sandbox.Step) ([]*tree.Entry, error) {
	files, whiteouts := tree.Whiteouts(top)
	step.Tree = files
	res, err := b.run(step)
	if err != nil {
		return nil, err
	}
	top = res.Tree
	b.adopt(step, top)
	for _, w := range whiteouts {
		if hidden, _ := tree.Hidden(w); tree.Find(top, hidden) == nil && tree.Find(top, path.Dir(hidden)) != nil {
			top = append(top, w)
		}
	}
	tree.Sort(top)
	return top, nil
}

// adopt gives the entries that a step made the owners that they are to have,
// and marks directories that are as mkdir makes them as implied: those that a
// layer below has stay what they are there.
func (b *builder) adopt(step *sandbox.Step, entries []*tree.Entry) {
	own := b.spec.Layering == spec.Single && b.spec.RunAsRoot == "" && !step.FakeRoot
	for _, e := range entries {
		if tree.Find(step.Tree, e.Path) != nil {
			continue
		}
		e.Implied = e.Type == tree.Dir && e.Mode == 0o755 && e.UID == 0 && e.GID == 0 && len(e.Xattrs) == 0
		if own {
			e.UID, e.GID = b.spec.UID, b.spec.GID
		}
	}
}

// run runs a step with what the spec says of all steps.
func (b *builder) run(step *sandbox.Step) (*sandbox.Result, error) {
	if step.Root == sandbox.ImageRoot && b.architecture() != runtime.GOARCH {
		return nil, &MissingError{fmt.Errorf("%s: the image is for %q, whose programs this machine (%s) does not run: build it on one that does",
			step.Name, b.architecture(), runtime.GOARCH)}
	}
	runner, err := b.opts.Steps.Runner(b.spec.Isolation)
	if err != nil {
		return nil, err
	}
	if err := CompleteStep(step, b.spec, b.opts); err != nil {
		return nil, err
	}
	b.debugf("%s: running %q with PATH %q, isolation: %s, network: %s", step.Name, step.Argv[0], strings.Join(b.spec.Path, ":"), b.spec.Isolation, b.spec.Network)
	out := b.opts.Steps.output(step.Name)
	defer out.Close()
	step.Stdout, step.Stderr = out, out
	res, err := sandbox.Run(b.ctx, runner, step)
	if err != nil {
		return nil, err
	}
	b.result.closers = append(b.result.closers, res)
	return res, nil
}

// architecture is the image's.
func (b *builder) architecture() string {
	if b.base != nil && b.base.platform.Architecture != "" {
		return b.base.platform.Architecture
	}
	if b.spec.Architecture != "" {
		return b.spec.Architecture
	}
	return b.opts.Architecture
}

// CompleteStep gives a step what a spec says of all its steps: the shell, where
// the step names no program, the environment, which store and programs of the
// machine it sees, its network, its limits, and the size of a virtual machine. What the step
// has of environment and binds stays, and is the stronger.
func CompleteStep(step *sandbox.Step, s *spec.Spec, opts Options) error {
	if s.Network == spec.NetworkHost {
		if !opts.Steps.AllowNetwork {
			return &SpecError{"network", errors.New("scripts that use the machine's network make other images on other days: --allow-network lets them")}
		}
		step.Network = sandbox.NetworkHost
	}
	step.Tools = s.Path
	if len(step.Argv) == 0 {
		shell, err := findShell(step, s)
		if err != nil {
			return err
		}
		step.Argv = []string{shell}
		if step.Script != "" {
			step.Argv = append(step.Argv, "-e")
			step.Script = tellLine(shell) + step.Script
		}
		step.Tools = append(slices.Clone(s.Path), path.Dir(shell))
	}
	step.Env = append(stepEnv(step, s), step.Env...)
	store, err := storeBinds(step, s, opts)
	if err != nil {
		return err
	}
	step.Binds = append(store, step.Binds...)
	step.Limits = opts.Steps.Limits
	step.VM = sandbox.VM{Disk: int64(s.DiskSize) << 20, Memory: int64(s.BuildVMMemorySize) << 20}
	return nil
}

// tellLine has bash say which line of a script ends it: commands such as test
// fail without a word. It is on the script's own first line, so that others keep
// their numbers. Other shells do not know the line.
func tellLine(shell string) string {
	if name := path.Base(shell); name != "bash" && name != "sh" {
		return ""
	}
	return `if [ -n "${BASH_VERSION-}" ]; then set -E; trap 'case "$-:$BASH_SUBSHELL" in *e*:0) echo "line $LINENO: $BASH_COMMAND" >&2 ;; esac' ERR; fi; `
}

// stepEnv is the environment of all steps.
func stepEnv(step *sandbox.Step, s *spec.Spec) []string {
	home := "/root"
	if !step.FakeRoot {
		home = "/tmp"
	}
	return []string{
		"HOME=" + home, "LC_ALL=C", "PATH=" + strings.Join(s.Path, ":"),
		fmt.Sprintf("SOURCE_DATE_EPOCH=%d", s.TreeMTime), "TMPDIR=/tmp", "TZ=UTC",
	}
}

// findShell is the program that runs a step's script: that of the spec, or
// bash or sh of the image where the step runs in it, of the machine elsewhere.
func findShell(step *sandbox.Step, s *spec.Spec) (string, error) {
	if s.Shell != "" {
		return s.Shell, nil
	}
	for _, name := range []string{"bash", "sh"} {
		if step.Root == sandbox.ImageRoot {
			if tree.Lookup(step.Tree, "bin/"+name) != nil {
				return "/bin/" + name, nil
			}
			continue
		}
		for _, dir := range s.Path {
			if st, err := os.Stat(dir + "/" + name); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
				return dir + "/" + name, nil
			}
		}
	}
	if step.Root == sandbox.ImageRoot {
		return "", &SpecError{step.Name, errors.New("the image has no /bin/bash or /bin/sh to run it: add one, or name the image's shell with the field shell")}
	}
	return "", &MissingError{fmt.Errorf("%s: there is no bash or sh in %q: name directories that have one with the field path, or the shell with the field shell",
		step.Name, strings.Join(s.Path, ":"))}
}

// storeBinds shows a step the machine's store. Where the tree has store paths
// itself they stay, and each of the machine's goes beside them.
func storeBinds(step *sandbox.Step, s *spec.Spec, opts Options) ([]sandbox.Bind, error) {
	physical, err := filepath.Abs(opts.storeRoot() + s.StoreDir)
	if err != nil {
		return nil, err
	}
	if step.Root == sandbox.HostTools && physical == nixstore.DefaultStoreDir {
		return nil, nil // the machine's programs need it anyway
	}
	if st, err := os.Stat(physical); err != nil || !st.IsDir() {
		return nil, nil
	}
	within := strings.TrimPrefix(s.StoreDir, "/") + "/"
	if step.Root == sandbox.HostTools || !slices.ContainsFunc(step.Tree, func(e *tree.Entry) bool { return strings.HasPrefix(e.Path, within) }) {
		return []sandbox.Bind{{Source: physical, Target: s.StoreDir}}, nil
	}
	paths, err := visiblePaths(s, opts)
	if err != nil {
		return nil, err
	}
	var binds []sandbox.Bind
	for _, p := range paths {
		if tree.Find(step.Tree, strings.TrimPrefix(p, "/")) == nil {
			binds = append(binds, sandbox.Bind{Source: physical + strings.TrimPrefix(p, s.StoreDir), Target: p})
		}
	}
	return binds, nil
}

// visiblePaths are the store paths that a step may see: those of the spec's
// closure, or all that there are. Nix's locks come and go, and are none.
func visiblePaths(s *spec.Spec, opts Options) ([]string, error) {
	if s.Closure == "" {
		paths, err := nixstore.List(nixstore.ScanOptions{StoreDir: s.StoreDir, Root: opts.storeRoot()})
		return slices.DeleteFunc(paths, func(p string) bool { return strings.HasSuffix(p, ".lock") }), err
	}
	file := s.Closure
	if !s.Local(file) {
		file = opts.Root + file
	}
	nodes, err := nixstore.ReadClosureFile(s.StoreDir, file)
	if err != nil {
		return nil, specError("closure", err)
	}
	var paths []string
	for _, n := range nodes {
		paths = append(paths, n.Path)
	}
	return paths, nil
}
