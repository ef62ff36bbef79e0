package archtest

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const module = "github.com/varve-image/varve"

// arrows are the direct imports that the design draws. A package may also
// import what those may.
var arrows = map[string][]string{
	"tree":              {"internal/compress"},
	"internal/layering": nil,
	"spec":              {"internal/compress"},
	// Tests of the Nix expressions.
	"nix/tests": nil,

	"layer":                  {"tree"},
	"internal/rootfs":        {"tree"},
	"internal/nixstore":      {"tree", "internal/layering", "internal/nixstore/nar"},
	"image":                  {"layer", "internal/ocijson"},
	"internal/base/lockfile": {"layer", "internal/ocijson"},
	"internal/base/cache":    {"internal/place/ocilayout"},
	"internal/sandbox":       {"tree", "layer"},

	"internal/nixstore/nar":   {"tree"},
	"internal/nixstore/drv":   {"internal/nixstore"},
	"internal/nixstore/nixdb": {"internal/nixstore"},

	"internal/sandbox/userns":          {"internal/sandbox", "internal/sandbox/userns/program"},
	"internal/sandbox/userns/fakeroot": {"internal/execfile", "internal/sandbox/userns/openat", "internal/sandbox/userns/procfs", "internal/sandbox/userns/seccomp"},
	"internal/sandbox/userns/kernel":   {"internal/sandbox"},
	"internal/sandbox/userns/protocol": {"internal/sandbox", "internal/sandbox/userns/seccomp"},
	"internal/sandbox/userns/limits":   {"internal/sandbox/userns/worktree"},
	"internal/sandbox/userns/openat":   {"internal/sandbox"},
	"internal/sandbox/userns/procfs":   nil,
	"internal/sandbox/userns/program":  {"internal/execfile", "internal/sandbox/userns/limits", "internal/sandbox/userns/kernel", "internal/sandbox/userns/protocol"},
	"internal/sandbox/userns/seccomp":  nil,
	"internal/sandbox/userns/worktree": {"internal/sandbox", "internal/sandbox/userns/fakeroot"},
	"internal/sandbox/vm":              {"internal/sandbox/userns"},
	"internal/sandbox/sandboxtest":     {"internal/sandbox"},
	"internal/imagetest":               {"image"},

	"internal/place/dockerarchive": {"image", "internal/tarindex"},
	"internal/place/ocilayout":     {"image", "internal/tarindex", "internal/ocijson"},
	"internal/place/registry":      {"image", "internal/ocijson", "internal/pace"},
	"internal/place/engine":        {"image", "internal/pace"},

	"internal/assemble": {"spec", "internal/rootfs", "image", "layer", "internal/layering", "internal/nixstore", "internal/nixstore/drv", "internal/nixstore/nixdb", "internal/sandbox", "internal/base/cache", "internal/execfile"},

	"internal/arch":       nil,
	"internal/ui":         nil,
	"internal/atomicfile": nil,
	"internal/ctxio":      nil,
	"internal/compress":   nil,
	"internal/flock":      nil,
	"internal/owner":      nil,
	"internal/rmtree":     nil,
	// It serves the packages that read archives.
	"internal/tarindex": {"tree"},
	"image/ordjson":     nil,
	"internal/problems": nil,
	// It serves build.
	"internal/execfile": nil,
	"internal/suggest":  nil,
	"internal/regfile":  nil,
	// It serves the packages that read and write manifests.
	"internal/ocijson": nil,
	// It serves the packages that wait for others.
	"internal/pace": nil,

	"internal/cli": {
		"internal/assemble", "internal/base/cache", "internal/base/lockfile", "internal/place/dockerarchive", "internal/place/ocilayout", "internal/place/registry", "internal/place/engine", "internal/ui",
		"internal/sandbox/userns", "internal/sandbox/vm",
	},
	// It is run again as the first process of a run step, and of its virtual machine.
	"cmd/varve": {"internal/cli", "internal/sandbox/userns", "internal/sandbox/vm"},
}

// anyone are the leaves that every package may import.
var anyone = []string{
	"internal/arch", "internal/atomicfile", "internal/ctxio", "internal/flock", "image/ordjson", "internal/owner", "internal/problems",
	"internal/regfile", "internal/rmtree", "internal/suggest",
}

// testOnly are imported by tests, and by each other. What one of them has an
// arrow to it serves as a suite.
var testOnly = map[string]bool{
	"internal/archtest":            true,
	"internal/debianbase":          true,
	"internal/debstore":            true,
	"internal/enginetest":          true,
	"internal/goldenstore":         true,
	"internal/hostile":             true,
	"internal/layertest":           true,
	"internal/testtools":           true,
	"internal/sandbox/sandboxtest": true,
	"internal/imagetest":           true,
}

// isTool reports whether a package is a program for those who work on the
// project.
func isTool(pkg string) bool {
	return strings.HasPrefix(pkg, "hack/") || strings.HasPrefix(pkg, "internal/bench") ||
		strings.HasPrefix(pkg, "internal/debstore/cmd/") || pkg == "internal/sandbox/sandboxtest/probe" || strings.HasPrefix(pkg+"/", "examples/")
}

// frontends may know terminals, signals and the clock.
var frontends = map[string]bool{"cmd/varve": true, "internal/cli": true, "internal/ui": true}

// stopwatch may read the clock, too: it says no time, only that somebody is slow.
const stopwatch = "internal/pace"

// environment is who may read environment variables.
var environment = map[string]bool{"cmd/varve": true, "internal/cli": true}

// source is a file of a package, test or not.
type source struct {
	pkg, name string
	test      bool
	file      *ast.File
}

func TestImports(t *testing.T) {
	for _, s := range sources(t) {
		for _, problem := range checkImports(s) {
			t.Error(problem)
		}
	}
}

func TestCalls(t *testing.T) {
	for _, s := range sources(t) {
		for _, problem := range checkCalls(s) {
			t.Error(problem)
		}
	}
}

// TestMainIsShort: what is in main is out of reach for tests.
func TestMainIsShort(t *testing.T) {
	for _, s := range sources(t) {
		if s.pkg != "cmd/varve" || s.test {
			continue
		}
		data, err := os.ReadFile(s.name)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(data), "\n"); n > 30 {
			t.Errorf("%s has %d lines, at most 30 are allowed", s.name, n)
		}
	}
}

// TestOneMain: all of cmd/varve is one file.
func TestOneMain(t *testing.T) {
	n := 0
	for _, s := range sources(t) {
		if s.pkg == "cmd/varve" && !s.test {
			n++
		}
	}
	if n > 1 {
		t.Errorf("cmd/varve has %d files: what it does belongs into internal/cli", n)
	}
}

// sources parses every Go file of the module that its packages hold.
func sources(t *testing.T) []source {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Dir", module+"/...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []source
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct{ ImportPath, Dir string }
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("read go list's output: %v", err)
		}
		names, err := filepath.Glob(filepath.Join(p.Dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			all = append(all, parse(t, relative(p.ImportPath), name, nil))
		}
	}
	if len(all) == 0 {
		t.Fatal("go list names no files")
	}
	return all
}

func parse(t *testing.T, pkg, name string, text any) source {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return source{pkg: pkg, name: name, test: strings.HasSuffix(name, "_test.go"), file: file}
}

func relative(importPath string) string {
	return strings.TrimPrefix(strings.TrimPrefix(importPath, module), "/")
}
