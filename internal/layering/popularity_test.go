package layering

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func mustOrder(t testing.TB, g *Graph) string {
	t.Helper()
	order, err := g.Popularity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(order, " ")
}

// testdata/popularity holds reference graphs and the orders that nixpkgs'
// program gave them.
func TestPopularityGolden(t *testing.T) {
	graphs, err := filepath.Glob("testdata/popularity/*.json")
	if err != nil || len(graphs) == 0 {
		t.Fatalf("no golden graphs: %v", err)
	}
	for _, file := range graphs {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var doc struct{ Graph []Node }
			if err := json.Unmarshal(data, &doc); err != nil {
				t.Fatal(err)
			}
			want, err := os.ReadFile(strings.TrimSuffix(file, ".json") + ".order")
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Fields(mustOrder(t, mustGraph(t, doc.Graph)))
			for i, path := range strings.Fields(string(want)) {
				if i >= len(got) || got[i] != path {
					t.Fatalf("from place %d: got %q, want %s", i, got[i:min(i+1, len(got))], path)
				}
			}
			if n := len(strings.Fields(string(want))); len(got) != n {
				t.Errorf("%d paths, want %d", len(got), n)
			}
		})
	}
}

func TestPopularityTies(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""},
		{"s/2-b s/1-b s/9-a", "s/9-a s/1-b s/2-b"},
		{"s/1-a-2 s/2-a-10 s/3-a", "s/2-a-10 s/1-a-2 s/3-a"},
		{"s/1-ab s/2-a-b s/3-a+", "s/2-a-b s/3-a+ s/1-ab"},
		{"b-x a -x x b--x", "b--x a x -x b-x"},
		{"1-b>3-d 2-a>3-d 3-d", "3-d 2-a 1-b"},
		{"1-\xff 2-é 3-z", "3-z 2-é 1-\xff"},
	} {
		t.Run(tt.in, func(t *testing.T) {
			if got := mustOrder(t, mustGraph(t, parse(tt.in))); got != tt.want {
				t.Errorf("order of %q is %q, want %q", tt.in, got, tt.want)
			}
		})
	}
}

// naiveOrder implements the definition: it follows every single walk from every
// root, and so is for small graphs only.
func naiveOrder(nodes []Node) []string {
	refs := map[string][]string{}
	referred := map[string]bool{}
	for _, n := range nodes {
		for _, ref := range n.References {
			if ref != n.Path && !slices.Contains(refs[n.Path], ref) {
				refs[n.Path] = append(refs[n.Path], ref)
				referred[ref] = true
			}
		}
	}
	walks := map[string]int{}
	var walk func(path string)
	walk = func(path string) {
		walks[path]++
		for _, ref := range refs[path] {
			walk(ref)
		}
	}
	var reaches func(from, to string) bool
	reaches = func(from, to string) bool {
		return from == to || slices.ContainsFunc(refs[from], func(ref string) bool { return reaches(ref, to) })
	}
	for _, n := range nodes {
		if !referred[n.Path] {
			walk(n.Path)
		}
	}
	scores := map[string]int{}
	var order []string
	for _, p := range nodes {
		order = append(order, p.Path)
		for _, c := range nodes {
			if reaches(c.Path, p.Path) {
				scores[p.Path] += walks[c.Path]
			}
		}
	}
	slices.SortFunc(order, func(a, b string) int {
		if scores[a] != scores[b] {
			return scores[b] - scores[a]
		}
		as, bs := strings.Split(a, "-"), strings.Split(b, "-")
		return slices.Compare(append(as[1:], as[0]), append(bs[1:], bs[0]))
	})
	return order
}

// smallGraph makes 1 to 9 nodes, whose few names tie often, in any order.
func smallGraph(rng *rand.Rand) []Node {
	nodes := make([]Node, 1+rng.IntN(9))
	for i := range nodes {
		nodes[i].Path = fmt.Sprintf("/nix/store/%d-%c-%d", rng.IntN(1e9)*10+i, 'a'+rng.IntN(2), rng.IntN(2))
		for j := range i + 1 {
			for range rng.IntN(3) {
				nodes[i].References = append(nodes[i].References, nodes[j].Path)
			}
		}
	}
	rng.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
	return nodes
}

func TestPopularityAgainstDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		nodes := smallGraph(rng)
		want := strings.Join(naiveOrder(nodes), " ")
		if got := mustOrder(t, mustGraph(t, nodes)); got != want {
			t.Fatalf("graph %s\n got %s\nwant %s", format(nodes), got, want)
		}
	}
}

// The order of the vertices given must not matter.
func TestPopularityIgnoresInputOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	nodes := randomDAG(300, 900)
	want := mustOrder(t, mustGraph(t, nodes))
	for range 5 {
		rng.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
		for _, n := range nodes {
			rng.Shuffle(len(n.References), func(i, j int) {
				n.References[i], n.References[j] = n.References[j], n.References[i]
			})
		}
		if mustOrder(t, mustGraph(t, nodes)) != want {
			t.Fatal("another order of the same graph gives another result")
		}
	}
}

// directScores sums W over each ancestor set as a map, in vertex order.
func directScores(referrers [][]int) []*big.Int {
	walks := make([]*big.Int, len(referrers))
	scores := make([]*big.Int, len(referrers))
	ancestors := make([]map[int]bool, len(referrers))
	for v, from := range referrers {
		walks[v], scores[v], ancestors[v] = new(big.Int), new(big.Int), map[int]bool{v: true}
		if len(from) == 0 {
			walks[v].SetInt64(1)
		}
		for _, u := range from {
			walks[v].Add(walks[v], walks[u])
			for c := range ancestors[u] {
				ancestors[v][c] = true
			}
		}
		for c := range ancestors[v] {
			scores[v].Add(scores[v], walks[c])
		}
	}
	return scores
}

// Scores are the same in one stripe and in many.
func TestScoresInStripes(t *testing.T) {
	for name, nodes := range map[string][]Node{
		"random":    randomDAG(500, 2500),
		"window":    windowDAG(500, 10),
		"bipartite": bipartiteDAG(50, 10),
		"flat":      randomDAG(129, 0),
		"sparse":    randomDAG(320, 200),
	} {
		g := mustGraph(t, nodes)
		want := directScores(g.referrers())
		for _, budget := range []int{0, 8 * 2 * len(nodes), 8 * 3 * len(nodes), stripeBytes} {
			got, err := g.scores(t.Context(), budget)
			if err != nil {
				t.Fatal(err)
			}
			for v := range got {
				if got[v].Cmp(want[v]) != 0 {
					t.Fatalf("%s, budget %d: score of vertex %d is %v, want %v", name, budget, v, &got[v], want[v])
				}
			}
		}
	}
}

func TestPopularityIsCancelled(t *testing.T) {
	g := mustGraph(t, windowDAG(100, 3))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.Popularity(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want context.Canceled", err)
	}
}

// A graph whose numbers would take gigabytes is refused before it takes them.
func TestPopularityRefusesHugeNumbers(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a second and some 150 MiB")
	}
	if _, err := mustGraph(t, randomDAG(60000, 60000)).Popularity(t.Context()); err != nil {
		t.Errorf("60000 paths, shallow: %v", err)
	}
	_, err := mustGraph(t, windowDAG(60000, 10)).Popularity(t.Context())
	if err == nil || !strings.Contains(err.Error(), "60000 paths") || !strings.Contains(err.Error(), "128 MiB") {
		t.Errorf("60000 paths, deep: error %v, want one that says how many and how much", err)
	}
}

// FuzzPopularity reads a graph of up to eight paths from a bit matrix, cycles
// and self-references included.
func FuzzPopularity(f *testing.F) {
	f.Add(uint64(0), uint8(8))
	f.Add(uint64(0x0000000000000102), uint8(3))
	f.Add(uint64(0x8040201008040201), uint8(8))
	f.Add(uint64(0x7f3f1f0f07030100), uint8(8))
	f.Fuzz(func(t *testing.T, matrix uint64, n uint8) {
		nodes := make([]Node, n%9)
		for i := range nodes {
			nodes[i].Path = fmt.Sprintf("%d-%c", i, 'a'+i%2)
			for j := range nodes {
				if matrix>>(8*i+j)&1 != 0 {
					nodes[i].References = append(nodes[i].References, fmt.Sprintf("%d-%c", j, 'a'+j%2))
				}
			}
		}
		g, err := NewGraph(nodes)
		if cyclic := hasCycle(nodes); cyclic != (err != nil) {
			t.Fatalf("graph %s: cycle %v, error %v", format(nodes), cyclic, err)
		}
		if err != nil {
			return
		}
		if got, want := mustOrder(t, g), strings.Join(naiveOrder(nodes), " "); got != want {
			t.Errorf("graph %s\n got %s\nwant %s", format(nodes), got, want)
		}
	})
}

// hasCycle reports whether a path other than itself leads back to a node, using the
// reachability matrix.
func hasCycle(nodes []Node) bool {
	reach := map[[2]string]bool{}
	for _, n := range nodes {
		for _, ref := range n.References {
			if ref != n.Path {
				reach[[2]string{n.Path, ref}] = true
			}
		}
	}
	for _, k := range nodes {
		for _, i := range nodes {
			for _, j := range nodes {
				if reach[[2]string{i.Path, k.Path}] && reach[[2]string{k.Path, j.Path}] {
					reach[[2]string{i.Path, j.Path}] = true
				}
			}
		}
	}
	return slices.ContainsFunc(nodes, func(n Node) bool { return reach[[2]string{n.Path, n.Path}] })
}
