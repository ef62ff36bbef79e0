package archtest

import (
	"fmt"
	"go/ast"
)

// The most lines that a function's body and a file may have, comments included.
const (
	mostOfFunction = 60
	mostOfFile     = 400
)

// checkSize returns the functions that do not fit a screen, and reports a file that
// is too long. Tests may be as long as their tables.
func checkSize(s source) []string {
	if s.test {
		return nil
	}
	var problems []string
	if n := s.fset.File(s.file.Pos()).LineCount(); n > mostOfFile {
		problems = append(problems, fmt.Sprintf("%s: %d lines, at most %d are allowed", s.name, n, mostOfFile))
	}
	if testOnly[s.pkg] {
		return problems
	}
	for _, decl := range s.file.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || f.Body == nil {
			continue
		}
		if n := s.fset.Position(f.Body.Rbrace).Line - s.fset.Position(f.Body.Lbrace).Line - 1; n > mostOfFunction {
			problems = append(problems, fmt.Sprintf("%s: function %s has %d lines, at most %d are allowed", s.name, f.Name.Name, n, mostOfFunction))
		}
	}
	return problems
}
