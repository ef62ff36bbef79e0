package layering

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/varve-image/varve/image/ordjson"
)

func mustPipeline(t testing.TB, text string) *Pipeline {
	t.Helper()
	v, err := ordjson.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	p, err := ParsePipeline("pipeline", v)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return p
}

// formatLayers writes layers as "a b|c".
func formatLayers(layers [][]string) string {
	var texts []string
	for _, l := range layers {
		texts = append(texts, strings.Join(l, " "))
	}
	return strings.Join(texts, "|")
}

// The graphs of nixpkgs' own tests of flatten-references-graph; the expected layers
// are from there, too.
const (
	// three has the roots Root1, Root2, Root3 and X.
	three = "Root1>A A>B,D B>D,F D>E Root2>B Root3>C C E F X"
	// fewer is three as in the tests of subcomponents.
	fewer = "Root1>A A>B,C B>D,E Root2>B Root3>C C D E"
	small = "A>A,C B>C,D C>C D>D"
	sole  = "top>lib,tool tool>lib lib"
)

func TestPipeline(t *testing.T) {
	for _, tt := range []struct{ graph, pipeline, want string }{
		{three, `[["split_paths", []]]`, "Root1 A B D Root2 Root3 C E F X"},
		{three, `[["split_paths", ["gone"]]]`, "Root1 A B D Root2 Root3 C E F X"},
		{three, `[["split_paths", ["B"]]]`, "B F|D E|Root1 A Root2 Root3 C X"},
		{three, `[["split_paths", ["B", "gone", "Root3"]]]`, "B Root3 C F|D E|Root1 A Root2 X"},
		{three, `[["split_paths", ["D"]]]`, "D E|Root1 A B Root2 Root3 C F X"},
		{three, `[["split_paths", [{"children_of": "B"}]]]`, "D E F|Root1 A B Root2 Root3 C X"},
		{three, `[["split_paths", [{"children_of": ["A", "gone", "Root3"]}]]]`, "B D C E F|Root1 A Root2 Root3 X"},
		{three, `[["split_paths", [{"children_of": "E"}]]]`, "Root1 A B D Root2 Root3 C E F X"},
		{three, `[["split_paths", ["Root1", "Root2", "Root3", "X"]]]`, "Root1 A B D Root2 Root3 C E F X"},
		{sole, `[["split_paths", ["top"]], ["over", "main", ["split_every", 2]]]`, "top tool|lib"},
		{sole, `[["split_paths", ["tool"]]]`, "tool|lib|top"},
		{"", `[["split_paths", ["B"]], ["over", "rest", ["split_every", 1]]]`, ""},

		{fewer, `[["subcomponent_out", []], ["over", "main", ["popularity_contest"]]]`, "Root1 A B Root2 Root3 C D E"},
		{fewer, `[["subcomponent_out", ["B"]]]`, "B D E|Root1 A Root2 Root3 C"},
		{fewer, `[["subcomponent_out", ["B", "Root3", "gone"]]]`, "B Root3 C D E|Root1 A Root2"},
		{fewer, `[["subcomponent_in", ["B"]]]`, "Root1 A B Root2|Root3 C D E"},
		{fewer, `[["subcomponent_in", ["B", "Root3"]]]`, "Root1 A B Root2 Root3|C D E"},

		{three, `[["popularity_contest"]]`, "E|D|F|B|A|C|Root1|Root2|Root3|X"},
		{three, `[["popularity_contest"], ["limit_layers", 3]]`, "E|D|F B A C Root1 Root2 Root3 X"},
		{three, `[["popularity_contest"], ["limit_layers", 1]]`, "E D F B A C Root1 Root2 Root3 X"},
		{three, `[["popularity_contest"], ["limit_layers", 10]]`, "E|D|F|B|A|C|Root1|Root2|Root3|X"},
		{three, `[["popularity_contest"], ["limit_layers", 100]]`, "E|D|F|B|A|C|Root1|Root2|Root3|X"},
		{three, `[["popularity_contest"], ["reverse"], ["limit_layers", 2]]`, "X|Root3 Root2 Root1 C A B F D E"},
		// A merged graph has the references of its graphs, and none between them.
		{three, `[["split_every", 3], ["limit_layers", 1], ["map", ["subcomponent_out", ["A"]]]]`, "A B|Root1 D Root2 Root3 C E F X"},

		{three, `[["remove_paths", ["A", "gone", "X"]]]`, "Root1 B D Root2 Root3 C E F"},
		{three, `[["remove_paths", "A"], ["split_paths", ["Root1"]]]`, "Root1|B D Root2 Root3 C E F X"},
		{three, `[["remove_paths", "A"], ["subcomponent_in", ["B"]]]`, "B Root2|Root1 D Root3 C E F X"},
		{three, `[["split_every", 4]]`, "Root1 A B D|Root2 Root3 C E|F X"},
		{three, `[["split_every", 40]]`, "Root1 A B D Root2 Root3 C E F X"},
		{three, `[]`, "Root1 A B D Root2 Root3 C E F X"},
		{three, `[["flatten"]]`, "Root1 A B D Root2 Root3 C E F X"},

		{small, `[["split_paths", ["B"]]]`, "B D|C|A"},
		{small, `[["split_paths", ["B"]], ["over", "main", ["subcomponent_in", ["B"]]]]`, "B|D|C|A"},
		{small, `[["remove_paths", "A"], ["split_paths", ["B"]]]`, "B C D"},
		{small, `[["remove_paths", "D"], ["split_paths", ["B"]]]`, "B|C|A"},
		{small, `[["split_paths", ["B"]], ["flatten"], ["reverse"]]`, "A|C|B D"},
		{small, `[["split_paths", ["B"]], ["flatten"], ["limit_layers", 2]]`, "B D|C A"},
		{small, `[["split_paths", ["B"]], ["flatten"], ["map", ["split_every", 1]], ["flatten"]]`, "B|D|C|A"},
		{small, `[["split_paths", ["B"]], ["over", "rest", ["pipe", [["popularity_contest"], ["reverse"]]]], ["over", "main", ["remove_paths", "B"]]]`, "D|C|A"},
		{small, `[["split_every", 2], ["map", ["pipe", [["popularity_contest"], ["limit_layers", 1]]]]]`, "A B|C D"},
		{small, `[["split_every", 2], ["map", ["split_every", 1]], ["limit_layers", 2]]`, "A|B|C|D"},
	} {
		t.Run(tt.pipeline, func(t *testing.T) {
			g := mustGraph(t, parse(tt.graph))
			before := format(g.Nodes())
			layers, removed, err := mustPipeline(t, tt.pipeline).Apply(t.Context(), g)
			if err != nil || formatLayers(layers) != tt.want {
				t.Errorf("%s of %q: %s, %v; want %s", tt.pipeline, tt.graph, formatLayers(layers), err, tt.want)
			}
			kept := slices.DeleteFunc(g.Paths(), func(p string) bool { return slices.Contains(removed, p) })
			if err := CheckPartition(kept, layers); err != nil {
				t.Errorf("%s of %q: %v", tt.pipeline, tt.graph, err)
			}
			if !strings.Contains(tt.pipeline, "remove_paths") && len(removed) > 0 {
				t.Errorf("%s of %q removes %q", tt.pipeline, tt.graph, removed)
			}
			if after := format(g.Nodes()); after != before {
				t.Errorf("%s changes the graph from %q to %q", tt.pipeline, before, after)
			}
		})
	}
}

// testdata/pipeline.json holds random graphs and pipelines, and the layers that
// come out when igraph, which nixpkgs' program uses, executes them in the way of
// that program.
func TestPipelineGolden(t *testing.T) {
	data, err := os.ReadFile("testdata/pipeline.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Graph    []Node
		Pipeline json.RawMessage
		Layers   [][]string
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	for i, c := range cases {
		layers, _, err := mustPipeline(t, string(c.Pipeline)).Apply(t.Context(), mustGraph(t, c.Graph))
		if err != nil || formatLayers(layers) != formatLayers(c.Layers) {
			t.Errorf("case %d: %s of %v: %s, %v; want %s", i, c.Pipeline, c.Graph, formatLayers(layers), err, formatLayers(c.Layers))
		}
	}
	if len(cases) < 100 {
		t.Errorf("only %d cases", len(cases))
	}
}

// Paths are in the order of their sizes, and those of one size as they are given.
func TestPipelineOrder(t *testing.T) {
	g := mustGraph(t, []Node{
		{Path: "z", NarSize: 7, References: []string{"c"}}, {Path: "c", NarSize: 1 << 63}, {Path: "b", NarSize: 3},
		{Path: "a", NarSize: 3}, {Path: "d", NarSize: 0},
	})
	for pipeline, want := range map[string]string{
		`[]`:                                "d b a z c",
		`[["subcomponent_out", ["z"]]]`:     "z c|d b a",
		`[["remove_paths", ["z"]]]`:         "d b a c",
		`[["split_every", 2], ["reverse"]]`: "c|a z|d b",
	} {
		t.Run(pipeline, func(t *testing.T) {
			layers, _, err := mustPipeline(t, pipeline).Apply(t.Context(), g)
			if err != nil || formatLayers(layers) != want {
				t.Errorf("%s: %s, %v; want %s", pipeline, formatLayers(layers), err, want)
			}
		})
	}
}

func TestParsePipelineRefuses(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want []string
	}{
		{`{}`, []string{`pipeline: got {}, want a list of operations`}},
		{`null`, []string{`pipeline: got null, want`}},
		{`["reverse"]`, []string{`pipeline: got one operation, want a list of them`}},
		{`[[]]`, []string{`pipeline[0]: got [], want an operation`}},
		{`[["reverse"], 5, [["reverse"]]]`, []string{`pipeline[1]: got 5, want`, `pipeline[2]: got [["reverse"]], want`}},
		{`[["populatiry_contest"]]`, []string{`pipeline[0]: unknown operation "populatiry_contest", want one of flatten, limit_layers, map`}},
		{`[["limit_layers"], ["reverse", 1]]`, []string{`pipeline[0]: limit_layers takes 1 arguments and got 0: write ["limit_layers", COUNT]`, `pipeline[1]: reverse takes 0`}},
		{`[["limit_layers", 0], ["split_every", "3"], ["limit_layers", 1.5], ["split_every", -1]]`, []string{
			`pipeline[0][1]: got 0, want a whole number of at least 1`, `pipeline[1][1]: got "3"`, `pipeline[2][1]: got 1.5`, `pipeline[3][1]: got -1`}},
		{`[["split_paths", "a"], ["split_paths", ["a", {"child_of": "b"}, {"children_of": 5}]]]`, []string{
			`pipeline[0][1]: got "a", want a list of store paths and of {"children_of": PATH}`,
			`pipeline[1][1][1]: got {"child_of": "b"}, want`, `pipeline[1][1][2].children_of: got 5`}},
		{`[["remove_paths", 5], ["subcomponent_out", "a"], ["subcomponent_in", [1]]]`, []string{`pipeline[0][1]: got 5`, `pipeline[1][1]: got "a"`, `pipeline[2][1]: got [1]`}},
		{`[["over", 1, ["reverse"]], ["over", "main", "reverse"]]`, []string{`pipeline[0][1]: got 1, want the name of a part`, `pipeline[1][2]: got "reverse", want an operation`}},
		{`[["map", ["map", ["x\u001b"]]], ["pipe", ["reverse"]]]`, []string{`pipeline[0][1][1]: unknown operation "x\x1b"`, `pipeline[1][1]: got one operation`}},
	} {
		v, err := ordjson.Parse([]byte(tt.in))
		if err != nil {
			t.Fatal(err)
		}
		_, err = ParsePipeline("pipeline", v)
		if err == nil {
			t.Errorf("%s is taken", tt.in)
			continue
		}
		lines := strings.Split(err.Error(), "\n")
		if len(lines) != len(tt.want) {
			t.Errorf("%s: %d faults, want %d: %v", tt.in, len(lines), len(tt.want), err)
			continue
		}
		for i, want := range tt.want {
			if !strings.HasPrefix(lines[i], want) {
				t.Errorf("%s: %q does not begin with %q", tt.in, lines[i], want)
			}
		}
	}
}

// Each operation says where it is, what it got and what it wants.
func TestPipelineMismatch(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{`[["reverse"]]`, `p[0]: reverse: got a graph, want a list: make one with ["popularity_contest"]`},
		{`[["limit_layers", 3]]`, `p[0]: limit_layers: got a graph, want a list`},
		{`[["split_every", 1], ["popularity_contest"]]`, `p[1]: popularity_contest: got a list, want a graph: apply it to each element with ["map", …]`},
		{`[["split_paths", ["B"]], ["popularity_contest"]]`, `p[1]: popularity_contest: got the parts "main", "common", "rest", want a graph: apply it to one of them with ["over", "main", …]`},
		{`[["split_paths", ["B"]], ["limit_layers", 5]]`, `p[1]: limit_layers: got the parts "main", "common", "rest", want a list: make one with ["flatten"]`},
		{`[["split_paths", ["gone"]], ["over", "main", ["split_every", 1]]]`, `p[1]: over: there is no part "main" here, only "rest"`},
		{`[["over", "main", ["split_every", 1]]]`, `p[0]: over: got a graph, want the parts that split_paths, `},
		{`[["split_paths", ["B"]], ["over", "main", ["pipe", [["split_every", 1], ["map", ["reverse"]]]]]]`, `p[1][2][1][1][1]: reverse: got a graph, want a list`},
		{`[["split_every", 1], ["map", ["split_every", 1]], ["limit_layers", 1]]`, `p[2]: limit_layers: got a list that holds a list, want a list of graphs: make one with ["flatten"]`},
	} {
		t.Run(tt.in, func(t *testing.T) {
			v, err := ordjson.Parse([]byte(tt.in))
			if err != nil {
				t.Fatal(err)
			}
			p, err := ParsePipeline("p", v)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err = p.Apply(t.Context(), mustGraph(t, parse(small))); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("%s: %v, want %s", tt.in, err, tt.want)
			}
		})
	}
}

func TestPipelineEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := mustPipeline(t, `[["split_every", 1]]`).Apply(ctx, mustGraph(t, parse(small)))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that it was cancelled", err)
	}
}

// Every operation's form says how many arguments it takes.
func TestOperationForms(t *testing.T) {
	all := operations()
	if len(all) != 12 {
		t.Errorf("%d operations", len(all))
	}
	for name, op := range all {
		form := op.form
		v := strings.NewReplacer("COUNT", "1", "PATH or ", "", "PATH", `"p"`, ", …", "", "NAME", `"main"`, "OPERATION", `["reverse"]`).Replace(form)
		if !strings.HasPrefix(form, `["`+name+`"`) {
			t.Errorf("%s is written %s", name, form)
		}
		mustPipeline(t, "["+v+"]")
	}
}

func FuzzPipeline(f *testing.F) {
	for _, op := range operations() {
		f.Add(strings.NewReplacer("COUNT", "1", "PATH or ", "", "PATH", `"B"`, ", …", "", "NAME", `"main"`, "OPERATION", `["reverse"]`).Replace("[" + op.form + "]"))
	}
	f.Add(`[["split_paths", ["B"]], ["over", "rest", ["pipe", [["popularity_contest"], ["limit_layers", 2]]]], ["flatten"], ["map", ["split_every", 1]]]`)
	f.Fuzz(func(t *testing.T, text string) {
		v, err := ordjson.Parse([]byte(text))
		if err != nil {
			return
		}
		p, err := ParsePipeline("p", v)
		if err != nil {
			return
		}
		g := mustGraph(t, parse(three))
		layers, removed, err := p.Apply(t.Context(), g)
		if err != nil {
			return
		}
		kept := slices.DeleteFunc(g.Paths(), func(p string) bool { return slices.Contains(removed, p) })
		if err := CheckPartition(kept, layers); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	})
}

func BenchmarkPipeline(b *testing.B) {
	nodes := make([]Node, 10000)
	for i := range nodes {
		nodes[i] = Node{Path: fmt.Sprintf("/nix/store/%032d-p", i), NarSize: uint64(i % 97)}
		for j := 1; j < i && j < 1<<12; j *= 3 {
			nodes[i].References = append(nodes[i].References, nodes[i-j].Path)
		}
	}
	g := mustGraph(b, nodes)
	p := mustPipeline(b, `[["split_paths", ["`+nodes[9000].Path+`"]], ["over", "rest", ["pipe", [["popularity_contest"], ["limit_layers", 100]]]]]`)
	for b.Loop() {
		if _, _, err := p.Apply(b.Context(), g); err != nil {
			b.Fatal(err)
		}
	}
}
