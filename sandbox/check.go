package sandbox

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/varve-image/varve/internal/problems"
	"github.com/varve-image/varve/tree"
)

// Check says what is wrong with a step, all of it. Runners call it first.
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
		}
	}
	if err := bad.Err(); err != nil {
		return fmt.Errorf("step %s: %w", s.Name, err)
	}
	return nil
}

func cleanAbs(name string) bool { return path.IsAbs(name) && path.Clean(name) == name }

// WorkDir is the working directory: Dir or its default.
func (s *Step) WorkDir() string {
	switch {
	case s.Dir != "":
		return s.Dir
	case s.Root == HostTools:
		return TreeDir
	}
	return "/"
}
