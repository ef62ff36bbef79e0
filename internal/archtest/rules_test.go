package archtest

import (
	"fmt"
	"go/ast"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// checkImports returns what is wrong with a file's imports.
func checkImports(s source) []string {
	var problems []string
	_, listed := arrows[s.pkg]
	if !listed && !testOnly[s.pkg] && !isTool(s.pkg) {
		return []string{fmt.Sprintf("%s: package %q has no line in arrows", s.name, s.pkg)}
	}
	for _, imported := range imports(s) {
		if !s.test && !frontends[s.pkg] && !isTool(s.pkg) && terminal(imported) {
			problems = append(problems, fmt.Sprintf("%s: package %s may not import %s: that is for %s",
				s.name, s.pkg, imported, "the command line"))
		}
		if imported == "log" {
			problems = append(problems, s.name+": imports log: return errors, or use log/slog")
		}
		if !strings.HasPrefix(imported, module) {
			continue
		}
		if problem := checkArrow(s, relative(imported)); problem != "" {
			problems = append(problems, problem)
		}
	}
	return problems
}

// checkArrow returns what is wrong with a file's import of a project package.
func checkArrow(s source, to string) string {
	switch {
	case s.test || isTool(s.pkg):
		return ""
	case testOnly[s.pkg]:
		if testOnly[to] || slices.Contains(anyone, to) || reachable(s.pkg)[to] {
			return ""
		}
		return fmt.Sprintf("%s: package %s serves tests of package %s and may not import it", s.name, s.pkg, to)
	case testOnly[to]:
		return fmt.Sprintf("%s: package %s imports %s, which only tests may", s.name, s.pkg, to)
	case slices.Contains(anyone, to) || reachable(s.pkg)[to]:
		return ""
	}
	return fmt.Sprintf("%s: package %s may not import %s", s.name, s.pkg, to)
}

// reachable returns all packages that the arrows lead to from pkg.
func reachable(pkg string) map[string]bool {
	all := map[string]bool{}
	var visit func(string)
	visit = func(p string) {
		for _, to := range arrows[p] {
			if !all[to] {
				all[to] = true
				visit(to)
			}
		}
	}
	visit(pkg)
	return all
}

func terminal(importPath string) bool {
	return importPath == "os/signal" || importPath == "golang.org/x/term" || importPath == "flag" ||
		strings.HasPrefix(importPath, "github.com/spf13/")
}

// checkCalls returns the forbidden functions that a file mentions.
func checkCalls(s source) []string {
	var problems []string
	locals := map[string]string{}
	for _, spec := range s.file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return []string{fmt.Sprintf("%s: import path %s: %v", s.name, spec.Path.Value, err)}
		}
		local := path.Base(imported)
		if spec.Name != nil {
			local = spec.Name.Name
		}
		locals[local] = imported
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && locals[x.Name] != "" {
			if why := forbidden(s, locals[x.Name]+"."+sel.Sel.Name); why != "" {
				problems = append(problems, fmt.Sprintf("%s: %s.%s: %s", s.name, x.Name, sel.Sel.Name, why))
			}
		}
		return true
	})
	return problems
}

// forbidden returns why a file may not use a function, or "".
func forbidden(s source, function string) string {
	if function == "archive/tar.FileInfoHeader" {
		return "it copies the host's names and times"
	}
	if s.test || isTool(s.pkg) || testOnly[s.pkg] {
		return ""
	}
	switch function {
	case "os.Exit":
		if s.pkg != "cmd/varve" {
			return "only main ends the process"
		}
	case "time.Now", "time.Since", "time.Until":
		if !frontends[s.pkg] && s.pkg != stopwatch {
			return "a library does not read the clock: time is passed in"
		}
	case "os.Getenv", "os.LookupEnv", "os.Environ", "os.ExpandEnv":
		if !environment[s.pkg] {
			return "only the command line reads the environment"
		}
	}
	return ""
}

func imports(s source) []string {
	var all []string
	for _, spec := range s.file.Imports {
		if imported, err := strconv.Unquote(spec.Path.Value); err == nil {
			all = append(all, imported)
		}
	}
	return all
}

// TestRules: each rule can fail, and lets pass what it should.
func TestRules(t *testing.T) {
	const m = module
	for _, c := range []struct {
		pkg, name, text string
		problem         string
	}{
		{"tree", "a.go", `import "io"`, ""},
		{"tree", "a.go", `import "` + m + `/image/ordjson"`, ""},
		{"tree", "a.go", `import "` + m + `/layer"`, "tree may not import layer"},
		{"tree", "a_test.go", `import "` + m + `/internal/testtools"`, ""},
		{"tree", "a.go", `import "` + m + `/internal/testtools"`, "only tests may"},
		{"image", "a.go", `import "` + m + `/tree"`, ""},
		{"image", "a.go", `import "` + m + `/internal/place/dockerarchive"`, "image may not import internal/place/dockerarchive"},
		{"internal/place/dockerarchive", "a_linux.go", `import "` + m + `/internal/place/ocilayout"`, "may not import internal/place/ocilayout"},
		{"internal/assemble", "a.go", `import "` + m + `/tree"`, ""},
		{"internal/assemble", "a.go", `import "` + m + `/internal/cli"`, "may not import internal/cli"},
		{"internal/ui", "a.go", `import "` + m + `/spec"`, "may not import spec"},
		{"internal/goldenstore", "a.go", `import "` + m + `/tree"`, "may not import it"},
		{"internal/enginetest", "a.go", `import "` + m + `/internal/testtools"`, ""},
		{"internal/enginetest", "a.go", `import "` + m + `/internal/flock"`, ""},
		{"newpackage", "a.go", "", "no line in arrows"},
		{"internal/assemble", "a.go", `import "github.com/spf13/cobra"`, "command line"},
		{"internal/cli", "a.go", `import "github.com/spf13/cobra"`, ""},
		{"internal/assemble", "a.go", `import "os/signal"`, "command line"},
		{"internal/assemble", "a.go", `import "log"`, "log/slog"},
		{"internal/assemble", "a.go", "import \"os\"\nfunc f() { os.Exit(1) }", "only main"},
		{"internal/cli", "a.go", "import \"os\"\nfunc f() { os.Exit(1) }", "only main"},
		{"cmd/varve", "a.go", "import \"os\"\nfunc f() { os.Exit(1) }", ""},
		{"hack/x", "a.go", "import \"os\"\nfunc f() { os.Exit(1) }", ""},
		{"internal/assemble", "a.go", "import \"time\"\nvar now = time.Now", "clock"},
		{"internal/assemble", "a.go", "import clock \"time\"\nvar now = clock.Now()", "clock"},
		{"internal/assemble", "a_test.go", "import \"time\"\nvar now = time.Now()", ""},
		{"internal/ui", "a.go", "import \"time\"\nvar now = time.Now()", ""},
		{"internal/pace", "a.go", "import \"time\"\nvar now = time.Now()", ""},
		{"internal/ui", "a.go", "import \"os\"\nvar home = os.Getenv(\"HOME\")", "environment"},
		{"internal/cli", "a.go", "import \"os\"\nvar home = os.Getenv(\"HOME\")", ""},
		{"layer", "a_test.go", "import \"archive/tar\"\nvar f = tar.FileInfoHeader", "host's names"},
	} {
		s := parse(t, c.pkg, c.name, "package p\n"+c.text)
		problems := append(checkImports(s), checkCalls(s)...)
		switch {
		case c.problem == "" && len(problems) > 0:
			t.Errorf("%s/%s: %s\nproblems %q, want none", c.pkg, c.name, c.text, problems)
		case c.problem != "" && (len(problems) != 1 || !strings.Contains(problems[0], c.problem)):
			t.Errorf("%s/%s: %s\nproblems %q, want one with %q", c.pkg, c.name, c.text, problems, c.problem)
		}
	}
}

// TestArrowsEndInLeaves: the table names no package that it has no line for,
// and has no cycle.
func TestArrowsEndInLeaves(t *testing.T) {
	for pkg, tos := range arrows {
		for _, to := range tos {
			if _, ok := arrows[to]; !ok {
				t.Errorf("arrow %s -> %s ends nowhere", pkg, to)
			}
		}
		if reachable(pkg)[pkg] {
			t.Errorf("arrows lead from %s to itself", pkg)
		}
	}
}
