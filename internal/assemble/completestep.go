package assemble

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/varve-image/varve/internal/lack"
	"github.com/varve-image/varve/internal/nixstore"
	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/spec"
	"github.com/varve-image/varve/tree"
)

// CompleteStep gives a step what a spec sets for all its steps: the shell (if the step names
// no program), the environment, which store and programs of the machine it sees, its
// network, its limits, and the size of a virtual machine. Environment and binds that the
// step has itself take precedence.
func CompleteStep(step *sandbox.Step, s *spec.Spec, opts Options) error {
	if s.Network == spec.NetworkHost {
		if !opts.Steps.AllowNetwork {
			return &SpecError{"network", ErrNetwork}
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

// tellLine makes bash report which line of a script ends it: commands such as test
// fail silently. It goes on the script's own first line, so that the others keep
// their numbers. Other shells cannot do this.
func tellLine(shell string) string {
	if name := path.Base(shell); name != "bash" && name != "sh" {
		return ""
	}
	return `if [ -n "${BASH_VERSION-}" ]; then set -E; trap 'case "$-:$BASH_SUBSHELL" in *e*:0) echo "line $LINENO: $BASH_COMMAND" >&2 ;; esac' ERR; fi; `
}

// stepEnv returns the environment of all steps.
func stepEnv(step *sandbox.Step, s *spec.Spec) []string {
	home := "/root"
	if !step.FakeRoot {
		home = "/tmp"
	}
	env := []string{
		"HOME=" + home, "LC_ALL=C", "PATH=" + strings.Join(s.Path, ":"),
		fmt.Sprintf("SOURCE_DATE_EPOCH=%d", s.TreeMTime), "TMPDIR=/tmp", "TZ=UTC",
	}
	for _, a := range s.Args {
		env = append(env, a.Key+"="+a.Value)
	}
	return env
}

// findShell returns the program that runs a step's script: the spec's; else bash or
// sh of the image if the step runs in it, or of the machine.
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
	return "", &lack.Error{Err: fmt.Errorf("%s: there is no bash or sh in %q: name directories that have one with the field path, or the shell with the field shell",
		step.Name, strings.Join(s.Path, ":"))}
}

// storeBinds shows a step the machine's store. If the tree has store paths itself
// they stay, and each of the machine's goes beside them.
func storeBinds(step *sandbox.Step, s *spec.Spec, opts Options) ([]sandbox.Bind, error) {
	physical, err := filepath.Abs(opts.storeRoot() + s.StoreDir)
	if err != nil {
		return nil, err
	}
	if step.Root == sandbox.HostTools && physical == nixstore.DefaultStoreDir {
		return nil, nil // the machine's programs need the store anyway
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

// visiblePaths returns the store paths that a step may see: those of the spec's
// closure, or all that exist. Nix's lock files come and go, and are not store
// paths.
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
