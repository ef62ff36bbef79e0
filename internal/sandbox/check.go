package sandbox

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/varve-image/varve/internal/problems"
	"github.com/varve-image/varve/tree"
)

// Check reports everything that is wrong with a step, as a *RequestError. Runners call it
// first.
func (s *Step) Check() error {
	var bad problems.List
	if len(s.Tree) == 0 || s.Tree[0].Path != "." || s.Tree[0].Type != tree.Dir {
		bad.Add(errors.New("its tree has no root"))
	}
	if len(s.Argv) == 0 || s.Argv[0] == "" {
		bad.Add(errors.New("it has no program to run"))
	}
	for _, text := range append(append([]string{s.Dir}, s.Argv...), s.Env...) {
		if strings.ContainsRune(text, 0) {
			bad.Addf("%q holds a NUL byte", text)
		}
	}
	for _, v := range s.Env {
		if name, _, ok := strings.Cut(v, "="); !ok || name == "" {
			bad.Addf("environment: %q is not NAME=value", v)
		}
	}
	if s.Dir != "" && !cleanAbs(s.Dir) {
		bad.Addf("working directory %q: want an absolute path without \"..\"", s.Dir)
	}
	for _, b := range s.Binds {
		if !cleanAbs(b.Source) || !cleanAbs(b.Target) || b.Target == "/" {
			bad.Addf("bind of %q at %q: want absolute paths without \"..\"", b.Source, b.Target)
		} else if s.taken(b.Target) {
			bad.Addf("bind of %q at %q: the sandbox has something of its own there: choose another place", b.Source, b.Target)
		}
	}
	if s.Root == HostTools {
		for _, dir := range s.Tools {
			if s.taken(path.Clean(dir)) {
				bad.Addf("directory of programs %q: the sandbox has something of its own there: put the programs elsewhere", dir)
			}
		}
	}
	if err := bad.Err(); err != nil {
		return fmt.Errorf("step %s: %w", s.Name, &RequestError{err})
	}
	return nil
}

// taken reports whether the sandbox has something at a path that no file of the machine may
// cover.
func (s *Step) taken(name string) bool {
	if inMachine(name) {
		return true
	}
	if s.Root != HostTools {
		return false
	}
	return within(TreeDir, name) || slices.Contains([]string{"/tmp", "/etc", "/etc/passwd", "/etc/group", "/etc/hosts"}, name)
}

// inMachine reports whether a path is in a file system in which a kernel describes itself:
// a sandbox has its own, and must not see the machine's.
func inMachine(name string) bool {
	return within("/proc", name) || within("/sys", name) || within("/dev", name)
}

// within reports whether name is the directory dir or below it. Both are clean.
func within(dir, name string) bool { return name == dir || strings.HasPrefix(name, dir+"/") }

func cleanAbs(name string) bool { return path.IsAbs(name) && path.Clean(name) == name }

// WorkDir returns the working directory: Dir or its default.
func (s *Step) WorkDir() string {
	switch {
	case s.Dir != "":
		return s.Dir
	case s.Root == HostTools:
		return TreeDir
	}
	return "/"
}
