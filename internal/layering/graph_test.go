package layering

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// parse makes nodes from "a>b,c d>a e": a refers to b and c, d to a.
func parse(text string) []Node {
	var nodes []Node
	for i, field := range strings.Fields(text) {
		path, refs, _ := strings.Cut(field, ">")
		node := Node{Path: path, NarSize: uint64(i + 1)}
		if refs != "" {
			node.References = strings.Split(refs, ",")
		}
		nodes = append(nodes, node)
	}
	return nodes
}

// format is parse's inverse.
func format(nodes []Node) string {
	var fields []string
	for _, n := range nodes {
		field := n.Path
		if len(n.References) > 0 {
			field += ">" + strings.Join(n.References, ",")
		}
		fields = append(fields, field)
	}
	return strings.Join(fields, " ")
}

func mustGraph(t testing.TB, nodes []Node) *Graph {
	t.Helper()
	g, err := NewGraph(nodes)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestNewGraph(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""},
		{"a", "a"},
		{"b a", "b a"},
		{"a>a", "a"},
		{"a>b,a,b b>b", "a>b b"},
		{"c b>c a>c,b", "c b>c a>c,b"},
	} {
		t.Run(tt.in, func(t *testing.T) {
			g := mustGraph(t, parse(tt.in))
			if got := format(g.Nodes()); got != tt.want {
				t.Errorf("NewGraph(%q) = %q, want %q", tt.in, got, tt.want)
			}
			var paths []string
			for i, n := range g.Nodes() {
				paths = append(paths, n.Path)
				if n.NarSize != uint64(i+1) {
					t.Errorf("NewGraph(%q): %s has size %d, want %d", tt.in, n.Path, n.NarSize, i+1)
				}
			}
			if !slices.Equal(g.Paths(), paths) {
				t.Errorf("NewGraph(%q).Paths() = %q, want %q", tt.in, g.Paths(), paths)
			}
		})
	}
}

func TestNewGraphRefuses(t *testing.T) {
	for _, tt := range []struct {
		in     string
		faults int
		want   []string
	}{
		{"a a>b b", 1, []string{`"a" is given twice`}},
		{"a>x,x b>y a", 3, []string{`"a" refers to "x"`, `"b" refers to "y"`, `"a" is given twice`}},
		{"a>b b>a", 1, []string{`cycle: "a" -> "b" -> "a"`}},
		{"r>a a>b b>c c>a c>d d", 2, []string{`"c" is given twice`, `cycle: `}},
		{"r>a,x a>b b>c,d c>a d>e e", 2, []string{`"r" refers to "x"`, `cycle: `, `"a" -> "b"`}},
	} {
		g, err := NewGraph(parse(tt.in))
		if err == nil {
			t.Errorf("NewGraph(%q) = %v, want an error", tt.in, g)
			continue
		}
		if n := strings.Count(err.Error(), "\n") + 1; n != tt.faults {
			t.Errorf("NewGraph(%q) finds %d faults, want %d: %v", tt.in, n, tt.faults, err)
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("NewGraph(%q) says %q, want %q in it", tt.in, err, want)
			}
		}
	}
}

// A cycle's message names the cycle's paths in order, not those before or
// below it.
func TestCycleNames(t *testing.T) {
	_, err := NewGraph(parse("r>a a>b,x b>c c>a,d d>e e>x x"))
	if err == nil {
		t.Fatal("no error")
	}
	_, cycle, _ := strings.Cut(err.Error(), "cycle: ")
	got := strings.Split(cycle, " -> ")
	if len(got) != 4 || got[0] != got[3] {
		t.Fatalf("cycle is %s, want three paths and the first again", cycle)
	}
	next := map[string]string{`"a"`: `"b"`, `"b"`: `"c"`, `"c"`: `"a"`}
	for i, name := range got[:3] {
		if next[name] != got[i+1] {
			t.Errorf("%s -> %s in the message is not a reference", name, got[i+1])
		}
	}
}

func TestErrorsStayShort(t *testing.T) {
	var ring, lost []Node
	for i := range 50000 {
		path := fmt.Sprintf("p%d\x1b", i)
		ring = append(ring, Node{Path: path, References: []string{fmt.Sprintf("p%d\x1b", (i+1)%50000)}})
		lost = append(lost, Node{Path: path, References: []string{path + "lost"}})
	}
	for name, nodes := range map[string][]Node{"ring": ring, "lost": lost} {
		_, err := NewGraph(nodes)
		if err == nil || len(err.Error()) > 3000 || !strings.Contains(err.Error(), "more") {
			t.Errorf("%s: error %.4000v; want one that says how many more there are", name, err)
		} else if strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%s: raw escape character in %q", name, err)
		}
	}
}

func TestClosure(t *testing.T) {
	g := mustGraph(t, parse("libc app>ssl,libc ssl>libc doc tool>libc"))
	for _, tt := range []struct{ roots, want string }{
		{"", ""},
		{"libc", "libc"},
		{"app", "libc app ssl"},
		{"tool ssl tool", "libc ssl tool"},
		{"doc app tool", "libc app ssl doc tool"},
	} {
		got, err := g.Closure(strings.Fields(tt.roots))
		if err != nil || strings.Join(got, " ") != tt.want {
			t.Errorf("Closure(%s) = %v, %v; want %s", tt.roots, got, err, tt.want)
		}
	}
	_, err := g.Closure([]string{"x", "app", "y"})
	if err == nil || !strings.Contains(err.Error(), `"x", "y"`) {
		t.Errorf("Closure of unknown paths says %v, want both named", err)
	}
}

func TestSubgraph(t *testing.T) {
	g := mustGraph(t, parse("libc app>ssl,libc ssl>libc doc tool>libc"))
	for _, tt := range []struct{ paths, want string }{
		{"", ""},
		{"ssl app", "app>ssl ssl"},
		{"app tool app unknown libc", "libc app>libc tool>libc"},
	} {
		sub := g.Subgraph(strings.Fields(tt.paths))
		if got := format(sub.Nodes()); got != tt.want {
			t.Errorf("Subgraph(%s) = %q, want %q", tt.paths, got, tt.want)
		}
		for _, n := range sub.Nodes() {
			if i := slices.Index(g.Paths(), n.Path); n.NarSize != uint64(i+1) {
				t.Errorf("Subgraph(%s): %s has size %d, want %d", tt.paths, n.Path, n.NarSize, i+1)
			}
		}
	}
	all := g.Subgraph(g.Paths())
	if !reflect.DeepEqual(all, g) {
		t.Errorf("the subgraph of all paths is %+v, want the graph %+v", all, g)
	}
	if sub := g.Subgraph([]string{"app", "libc"}); mustOrder(t, sub) != "libc app" {
		t.Errorf("order of a subgraph is %s, want libc app", mustOrder(t, sub))
	}
}

func TestResultsAreCopies(t *testing.T) {
	g := mustGraph(t, parse("a>b b"))
	g.Paths()[0] = "x"
	g.Nodes()[0].References[0] = "x"
	if got := format(g.Nodes()); got != "a>b b" {
		t.Errorf("the graph changed to %q", got)
	}
}
