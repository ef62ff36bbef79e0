package archtest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
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
		if imported == "log" && !strings.HasSuffix(s.name, "example_test.go") { // which ends as a reader's programs do
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

// checkIdle returns the arrows that only tests need, and the lines of packages that
// do not exist.
func checkIdle(table map[string][]string, files []source) []string {
	there := map[string]bool{}
	used := map[[2]string]bool{}
	for _, s := range files {
		there[s.pkg] = true
		if s.test {
			continue
		}
		for _, imported := range imports(s) {
			used[[2]string{s.pkg, relative(imported)}] = true
		}
	}
	var problems []string
	for _, pkg := range slices.Sorted(maps.Keys(table)) {
		if !there[pkg] {
			problems = append(problems, fmt.Sprintf("arrows: there is no package %s", pkg))
			continue
		}
		for _, to := range table[pkg] {
			if !used[[2]string{pkg, to}] {
				problems = append(problems, fmt.Sprintf("arrows: package %s does not import %s", pkg, to))
			}
		}
	}
	return problems
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

func imports(s source) []string {
	var all []string
	for _, spec := range s.file.Imports {
		if imported, err := strconv.Unquote(spec.Path.Value); err == nil {
			all = append(all, imported)
		}
	}
	return all
}
