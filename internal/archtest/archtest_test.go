package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/varve-image/varve"

// arrows holds the direct imports in the design. A package may also import what
// those may.
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
	"internal/sandbox":       {"tree"},
	// What was computed once, for those who make layers and write images.
	"internal/memo": {"image"},
	// Both as one cache, for those who look after it.
	"internal/cachedir": {"internal/base/cache", "internal/memo"},

	"internal/nixstore/nar":      {"tree"},
	"internal/nixstore/drv":      {"internal/nixstore"},
	"internal/nixstore/nixstate": {"internal/nixstore"},
	"internal/nixstore/nixdb":    {"internal/nixstore/nixstate"},

	"internal/sandbox/userns":          {"internal/sandbox/userns/first", "internal/sandbox/userns/program"},
	"internal/sandbox/userns/fakeroot": {"internal/execfile", "internal/sandbox/userns/openat", "internal/sandbox/userns/procfs", "internal/sandbox/userns/seccomp"},
	"internal/sandbox/userns/first":    {"internal/sandbox/userns/limits", "internal/sandbox/userns/kernel", "internal/sandbox/userns/protocol"},
	"internal/sandbox/userns/kernel":   nil,
	"internal/sandbox/userns/protocol": {"internal/sandbox", "internal/sandbox/userns/seccomp"},
	"internal/sandbox/userns/limits":   {"internal/sandbox/userns/worktree"},
	"internal/sandbox/userns/openat":   {"internal/sandbox"},
	"internal/sandbox/userns/procfs":   nil,
	"internal/sandbox/userns/program":  {"internal/execfile", "internal/sandbox/userns/limits", "internal/sandbox/userns/kernel", "internal/sandbox/userns/protocol"},
	"internal/sandbox/userns/seccomp":  nil,
	"internal/sandbox/userns/worktree": {"layer", "internal/sandbox", "internal/sandbox/userns/fakeroot"},
	"internal/sandbox/vm":              {"internal/sandbox/userns"},
	"internal/sandbox/remember":        {"internal/sandbox", "internal/memo", "layer"},
	"internal/sandbox/sandboxtest":     {"layer", "internal/sandbox"},
	"internal/imagetest":               {"image"},

	"internal/place/dockerarchive": {"image", "internal/tarindex"},
	"internal/place/ocilayout":     {"image", "internal/tarindex", "internal/ocijson"},
	"internal/place/hybrid":        {"internal/place/dockerarchive", "internal/place/ocilayout", "internal/tarindex", "internal/ocijson", "image"},
	"internal/place/registry":      {"image", "internal/ocijson", "internal/pace"},
	"internal/place/engine":        {"image", "internal/pace"},
	"internal/place":               {"internal/memo", "internal/place/hybrid", "internal/place/registry", "internal/place/engine"},

	"internal/base": {"spec", "internal/place", "internal/base/cache", "internal/base/lockfile", "internal/layering"},

	"internal/transfer": {"spec", "internal/place"},

	"image/inspect": {"image", "internal/ocijson"},

	"internal/assemble": {"spec", "internal/rootfs", "image", "layer", "internal/layering", "internal/nixstore", "internal/nixstore/drv", "internal/nixstore/nixstate", "internal/memo", "internal/sandbox", "internal/sandbox/remember", "internal/execfile"},

	"internal/treefile":    {"layer", "internal/compress"},
	"internal/dockertools": {"internal/assemble", "internal/base", "internal/transfer", "internal/treefile", "internal/nixstore/drv", "internal/sandbox"},

	"internal/arch":       nil,
	"internal/ui":         nil,
	"internal/atomicfile": nil,
	"internal/ctxio":      nil,
	"internal/compress":   nil,
	"internal/flock":      nil,
	"internal/human":      nil,
	"internal/lack":       nil,
	"internal/owner":      nil,
	"internal/rmtree":     nil,
	// It serves the packages that read archives.
	"internal/tarindex": {"tree"},
	"image/ordjson":     nil,
	"internal/problems": nil,
	// It serves assemble and the fake root of run steps.
	"internal/execfile": nil,
	"internal/suggest":  nil,
	"internal/tally":    nil,
	"internal/regfile":  nil,
	// It serves the packages that read and write manifests.
	"internal/ocijson": nil,
	// It serves the packages that wait for others.
	"internal/pace": nil,

	// A command line, independent of images.
	"internal/cmdline": nil,
	"internal/cli/explain": {
		"internal/cmdline", "internal/dockertools", "internal/base", "internal/sandbox/vm", "internal/memo", "internal/treefile", "internal/lack",
	},
	"internal/cli/specflags": {"spec", "internal/cmdline", "internal/compress", "internal/base/lockfile"},
	"internal/cli": {
		"internal/cmdline", "internal/cli/explain", "internal/cli/specflags", "internal/assemble", "internal/dockertools", "internal/base", "internal/base/cache", "internal/base/lockfile", "internal/cachedir", "image/inspect", "internal/place", "internal/place/dockerarchive", "internal/place/registry", "internal/transfer", "internal/ui",
		"internal/nixstore/nixdb", "internal/sandbox/userns", "internal/sandbox/vm",
	},
	// The package of the module itself, for importers.
	"": {"image/inspect", "internal/assemble", "internal/base", "internal/transfer", "internal/sandbox/userns", "internal/sandbox/vm"},
	// A separate package because it links SQLite.
	"nix/sqlite": {"internal/nixstore/nixdb"},
	// It is run again as the first process of a run step, and of its virtual machine.
	"cmd/varve": {"internal/cli", "internal/cmdline", "internal/sandbox/userns", "internal/sandbox/vm"},
}

// anyone holds the leaves that every package may import.
var anyone = []string{
	"internal/arch", "internal/atomicfile", "internal/ctxio", "internal/flock", "internal/human", "internal/lack", "image/ordjson", "internal/owner", "internal/problems",
	"internal/regfile", "internal/rmtree", "internal/suggest", "internal/tally",
}

// testOnly packages are imported by tests, and by each other. A package that one of
// them has an arrow to may use it as a suite.
var testOnly = map[string]bool{
	"internal/archtest":            true,
	"internal/debianbase":          true,
	"internal/debstore":            true,
	"internal/enginetest":          true,
	"internal/goldenstore":         true,
	"internal/hostile":             true,
	"internal/layertest":           true,
	"internal/librarytest":         true,
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

// frontends may use terminals, signals and the clock.
var frontends = map[string]bool{"cmd/varve": true, "internal/cli": true, "internal/cli/explain": true, "internal/cli/specflags": true, "internal/cmdline": true, "internal/ui": true}

// stopwatch may read the clock, too: it reports no time, only that somebody is slow.
const stopwatch = "internal/pace"

// kernelClock may ask the kernel for the time: to see how long a look takes, and
// whether the clock has advanced.
var kernelClock = map[string]bool{"internal/sandbox/userns/limits": true, "internal/sandbox/userns/worktree": true}

// environment holds the packages that may read environment variables.
var environment = map[string]bool{"cmd/varve": true, "internal/cmdline": true}

// source is a file of a package, test or not.
type source struct {
	pkg, name string
	test      bool
	fset      *token.FileSet
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

func TestSizes(t *testing.T) {
	for _, s := range sources(t) {
		for _, problem := range checkSize(s) {
			t.Error(problem)
		}
	}
}

func TestIdleArrows(t *testing.T) {
	for _, problem := range checkIdle(arrows, sources(t)) {
		t.Error(problem)
	}
}

// TestAPI: importers can name every type that they see.
func TestAPI(t *testing.T) {
	for _, pkg := range publicPackages(t) {
		for name, internal := range checkAPI(pkg) {
			t.Errorf("%s mentions %s, which importers cannot name", name, internal)
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

// sources returns all Go files of the module's packages.
func sources(t *testing.T) []source {
	t.Helper()
	all, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var parsed = sync.OnceValues(func() ([]source, error) {
	dirs, err := goList("-e", "-json=ImportPath,Dir", module+"/...")
	if err != nil {
		return nil, err
	}
	var all []source
	for _, p := range dirs {
		names, err := filepath.Glob(filepath.Join(p.Dir, "*.go"))
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			s, err := parse(relative(p.ImportPath), name, nil)
			if err != nil {
				return nil, err
			}
			all = append(all, s)
		}
	}
	if len(all) == 0 {
		return nil, errors.New("go list names no files")
	}
	return all, nil
})

// listed is a package as the go command lists it.
type listed struct{ ImportPath, Dir, Export string }

func goList(args ...string) ([]listed, error) {
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	var all []listed
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read go list's output: %w", err)
		}
		all = append(all, p)
	}
}

func parse(pkg, name string, text any) (source, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, text, parser.SkipObjectResolution)
	return source{pkg: pkg, name: name, test: strings.HasSuffix(name, "_test.go"), fset: fset, file: file}, err
}

func relative(importPath string) string {
	return strings.TrimPrefix(strings.TrimPrefix(importPath, module), "/")
}
