package archtest

import (
	"go/ast"
	"go/types"
	"maps"
	"slices"
	"strings"
	"testing"
)

// TestRules: each rule can fail, and allows what it should.
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
		{"internal/cmdline", "a.go", `import "github.com/spf13/cobra"`, ""},
		{"internal/cmdline", "a.go", `import "os/signal"`, ""},
		{"internal/cmdline", "a.go", `import "` + m + `/image"`, "internal/cmdline may not import image"},
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
		{"internal/cmdline", "a.go", "import \"os\"\nvar home = os.Getenv(\"HOME\")", ""},
		{"internal/cli", "a.go", "import \"os\"\nvar home = os.Getenv(\"HOME\")", "environment"},
		{"internal/ui", "a.go", "import \"os\"\nvar home, err = os.UserHomeDir()", "environment"},
		{"image", "a.go", "import \"os\"\nvar err = os.Unsetenv(\"HOME\")", "environment"},
		{"image", "a.go", "import \"os\"\nvar name, err = os.Hostname()", "environment"},
		{"image", "a.go", "import \"os/user\"\nvar me, err = user.Current()", "environment"},
		{"image", "a.go", "import \"golang.org/x/sys/unix\"\nvar home, ok = unix.Getenv(\"HOME\")", "environment"},
		{"image", "a.go", "import \"os\"\nvar dir = os.TempDir()", ""},
		{"image", "a.go", "import \"golang.org/x/sys/unix\"\nfunc f() { unix.Exit(1) }", "only main"},
		{"image", "a.go", "import \"syscall\"\nfunc f() { syscall.Exit(1) }", "only main"},
		{"image", "a.go", "import \"runtime\"\nfunc f() { runtime.Goexit() }", "only main"},
		{"image", "a.go", "import \"golang.org/x/sys/unix\"\nvar f = unix.ClockGettime", "clock"},
		{"internal/sandbox/userns/limits", "a.go", "import \"golang.org/x/sys/unix\"\nvar f = unix.ClockGettime", ""},
		{"internal/sandbox/userns/limits", "a.go", "import \"time\"\nvar f = time.Now", "clock"},
		{"image", "a.go", "import \"time\"\nvar f = time.After", ""},
		{"image", "a.go", "import \"time\"\nvar zone = time.Local", "time zone"},
		{"layer", "a_test.go", "import \"archive/tar\"\nvar f = tar.FileInfoHeader", "host's names"},
		{"image", "a.go", "func f() {\n" + strings.Repeat("\n", mostOfFunction) + "}", ""},
		{"image", "a.go", "func f() {\n" + strings.Repeat("\n", mostOfFunction+1) + "}", "function f has 61 lines"},
		{"image", "a_test.go", "func f() {\n" + strings.Repeat("\n", mostOfFile) + "}", ""},
		{"internal/hostile", "a.go", "func f() {\n" + strings.Repeat("\n", mostOfFunction+1) + "}", ""},
		{"internal/hostile", "a.go", strings.Repeat("\n", mostOfFile), "at most 400"},
	} {
		s := parseText(t, c.pkg, c.name, "package p\n"+c.text)
		problems := slices.Concat(checkImports(s), checkCalls(s), checkSize(s))
		switch {
		case c.problem == "" && len(problems) > 0:
			t.Errorf("%s/%s: %s\nproblems %q, want none", c.pkg, c.name, c.text, problems)
		case c.problem != "" && (len(problems) != 1 || !strings.Contains(problems[0], c.problem)):
			t.Errorf("%s/%s: %s\nproblems %q, want one with %q", c.pkg, c.name, c.text, problems, c.problem)
		}
	}
}

// TestArrowsEndInLeaves: the table has a line for every package that it names, and
// no cycle.
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

// TestIdleRule: an arrow is idle unless a file other than a test imports its
// target, whatever else leads there.
func TestIdleRule(t *testing.T) {
	const layer, tree = "import \"" + module + "/layer\"\n", "import \"" + module + "/tree\"\n"
	table := map[string][]string{"image": {"layer", "tree"}, "layer": {"tree"}, "tree": nil}
	for _, c := range []struct{ image, test, want string }{
		{layer + tree, "", ""},
		{layer, "", "image does not import tree"},
		{layer, tree, "image does not import tree"},
		{tree, layer, "image does not import layer"},
	} {
		got := strings.Join(checkIdle(table, []source{
			parseText(t, "image", "a_linux.go", "package image\n"+c.image),
			parseText(t, "image", "a_test.go", "package image\n"+c.test),
			parseText(t, "layer", "a.go", "package layer\n"+tree),
			parseText(t, "tree", "a.go", "package tree\n"),
		}), "\n")
		if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("image has\n%sand its test\n%s%q, want %q", c.image, c.test, got, c.want)
		}
	}
	if got := checkIdle(map[string][]string{"gone": nil}, nil); len(got) != 1 || !strings.Contains(got[0], "no package gone") {
		t.Errorf("a package that is gone: %q", got)
	}
}

// TestAPIRule: what importers see of a type of an internal package is found, and
// nothing else.
func TestAPIRule(t *testing.T) {
	hidden := typeCheck(t, module+"/internal/hidden", `
		type T struct{}
		type I interface{ M() }
		type G[X any] struct{}
		func New() *T { return nil }`, nil)
	for _, c := range []struct {
		text string
		want []string
	}{
		{"func F(hidden.T) {}", []string{"p.F"}},
		{"func F() (n int, t []*hidden.T) { return }", []string{"p.F"}},
		{"func F(f func(map[string]chan hidden.T)) {}", []string{"p.F"}},
		{"func F[X hidden.I](x X) {}", []string{"p.F"}},
		{"func F(a ...[2]hidden.G[int]) {}", []string{"p.F"}},
		{"var V = hidden.New()", []string{"p.V"}},
		{"type A = hidden.T\nfunc F(A) {}", []string{"p.A"}},
		{"type S struct{ hidden.T }", []string{"p.S.T"}},
		{"type S struct{ Field struct{ Inner *hidden.T } }", []string{"p.S.Field.Inner"}},
		{"type S struct{}\nfunc (*S) M(hidden.T) {}", []string{"p.S.M"}},
		{"type S struct{ s }\ntype s struct{ Field hidden.T }\nfunc (s) M() hidden.T { return hidden.T{} }", []string{"p.s.Field", "p.s.M"}},
		{"type G[X any] struct{}\ntype S G[hidden.T]\nfunc F(G[hidden.T]) {}", []string{"p.F"}},
		{"type G[X hidden.I] struct{}", []string{"p.G"}},
		{"type I interface{ M() hidden.T }", []string{"p.I.M"}},
		{"type I interface{ hidden.I }", []string{"p.I"}},
		{"type I interface{ ~int | hidden.T }", []string{"p.I"}},
		{"type L []hidden.T", []string{"p.L"}},
		{"type S struct{ field hidden.T }\nfunc (S) m(hidden.T) {}\nfunc f(hidden.T) {}\nvar v hidden.T\ntype s hidden.T", nil},
		{"type S struct{ Next *S }\nfunc F(error, any) { var t hidden.T; _ = t }", nil},
	} {
		pkg := typeCheck(t, module+"/p", "import \""+hidden.Path()+"\"\nvar _ hidden.T\n"+c.text, hidden)
		if got := slices.Sorted(maps.Keys(checkAPI(pkg))); !slices.Equal(got, c.want) {
			t.Errorf("%s\n%q, want %q", c.text, got, c.want)
		}
	}
	for pkg, want := range map[string]bool{"spec": true, "": true, "internal/ui": false, "cmd/varve": false, "examples": false, "nix/tests": false, "hack/testsum": false} {
		if isPublic(pkg) != want {
			t.Errorf("package %q is public: %v", pkg, !want)
		}
	}
}

func parseText(t *testing.T, pkg, name, text string) source {
	t.Helper()
	s, err := parse(pkg, name, text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// typeCheck returns the types of a package with the source text, which may import
// another one.
func typeCheck(t *testing.T, path, text string, other *types.Package) *types.Package {
	t.Helper()
	s := parseText(t, path, "a.go", "package "+path[strings.LastIndex(path, "/")+1:]+"\n"+text)
	pkg, err := (&types.Config{Importer: onePackage{other}}).Check(path, s.fset, []*ast.File{s.file}, nil)
	if err != nil {
		t.Fatalf("%s\n%v", text, err)
	}
	return pkg
}

type onePackage struct{ pkg *types.Package }

func (o onePackage) Import(string) (*types.Package, error) { return o.pkg, nil }
