package archtest

import (
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
)

// isPublic reports whether a package is meant for importers of the module.
func isPublic(pkg string) bool {
	top, _, _ := strings.Cut(pkg, "/")
	switch top {
	case "internal", "cmd", "examples", "hack", "nix":
		return false
	}
	return true
}

func isInternal(importPath string) bool {
	return strings.HasPrefix(importPath, module+"/internal/")
}

// publicPackages returns the types of all public packages, as compiled.
func publicPackages(t *testing.T) []*types.Package {
	t.Helper()
	public := map[string]bool{}
	for _, s := range sources(t) {
		if isPublic(s.pkg) && !s.test {
			public[path.Join(module, s.pkg)] = true
		}
	}
	args := slices.AppendSeq([]string{"-export", "-deps", "-json=ImportPath,Export"}, maps.Keys(public))
	compiled, err := goList(args...)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, p := range compiled {
		files[p.ImportPath] = p.Export
	}
	open := func(path string) (io.ReadCloser, error) { return os.Open(files[path]) }
	imports := importer.ForCompiler(token.NewFileSet(), "gc", open)
	var all []*types.Package
	for path := range public {
		p, err := imports.Import(path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

// api collects what importers of a package can see.
type api struct {
	pkg   *types.Package
	seen  map[*types.TypeName]bool
	leaks map[string]string
}

// checkAPI returns the exported declarations of a package that mention types of
// internal packages, which importers cannot name: the types by the
// declarations' full names.
func checkAPI(pkg *types.Package) map[string]string {
	a := &api{pkg, map[*types.TypeName]bool{}, map[string]string{}}
	for _, name := range pkg.Scope().Names() {
		switch obj := pkg.Scope().Lookup(name).(type) {
		case *types.TypeName:
			if obj.Exported() {
				a.declaration(obj)
			}
		default:
			if obj.Exported() {
				a.mention(a.fullName(name), obj.Type())
			}
		}
	}
	return a.leaks
}

func (a *api) fullName(name string) string { return path.Base(a.pkg.Path()) + "." + name }

// declaration checks a type that importers can see.
func (a *api) declaration(t *types.TypeName) {
	if a.seen[t] {
		return
	}
	a.seen[t] = true
	name := a.fullName(t.Name())
	switch declared := t.Type().(type) {
	case *types.Alias:
		a.mention(name, declared.Rhs())
	case *types.Named:
		for p := range declared.TypeParams().TypeParams() {
			a.mention(name, p.Constraint())
		}
		for m := range declared.Methods() {
			if m.Exported() {
				a.mention(name+"."+m.Name(), m.Type())
			}
		}
		a.mention(name, declared.Underlying())
	}
}

// mention checks a type in the declaration called name.
func (a *api) mention(name string, t types.Type) {
	switch t := t.(type) {
	case *types.Alias:
		a.named(name, t.Obj(), t.TypeArgs())
	case *types.Named:
		a.named(name, t.Obj(), t.TypeArgs())
	case *types.Map:
		a.mention(name, t.Key())
		a.mention(name, t.Elem())
	case interface{ Elem() types.Type }: // pointers, slices, arrays, channels
		a.mention(name, t.Elem())
	case *types.Signature:
		for p := range t.TypeParams().TypeParams() {
			a.mention(name, p.Constraint())
		}
		for v := range t.Params().Variables() {
			a.mention(name, v.Type())
		}
		for v := range t.Results().Variables() {
			a.mention(name, v.Type())
		}
	case *types.Struct:
		for f := range t.Fields() {
			if f.Exported() || f.Embedded() {
				a.mention(name+"."+f.Name(), f.Type())
			}
		}
	case *types.Interface:
		for m := range t.ExplicitMethods() {
			if m.Exported() {
				a.mention(name+"."+m.Name(), m.Type())
			}
		}
		for e := range t.EmbeddedTypes() {
			a.mention(name, e)
		}
	case *types.Union:
		for term := range t.Terms() {
			a.mention(name, term.Type())
		}
	}
}

// named checks the name of a type. The content of an unexported type is checked
// where it is embedded or returned.
func (a *api) named(name string, t *types.TypeName, args *types.TypeList) {
	switch {
	case t.Pkg() == nil: // error, any
	case isInternal(t.Pkg().Path()):
		a.leaks[name] = relative(t.Pkg().Path()) + "." + t.Name()
	case t.Pkg() == a.pkg && !t.Exported():
		a.declaration(t)
	}
	for arg := range args.Types() {
		a.mention(name, arg)
	}
}
