package layering

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func mustAuto(t testing.TB, g *Graph, n int, ignored ...string) [][]string {
	t.Helper()
	layers, err := g.Auto(t.Context(), n, ignored...)
	if err != nil {
		t.Fatal(err)
	}
	return layers
}

// layersText returns a line for each path, and an empty line between layers.
func layersText(layers [][]string) string {
	var texts []string
	for _, paths := range layers {
		texts = append(texts, strings.Join(paths, "\n")+"\n")
	}
	return strings.Join(texts, "\n")
}

// goldenGraph reads a graph that nixpkgs' programs were given.
func goldenGraph(t *testing.T, name string) *Graph {
	t.Helper()
	data, err := os.ReadFile("testdata/popularity/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct{ Graph []Node }
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	return mustGraph(t, doc.Graph)
}

// testdata/auto/auto.sums holds the results of nixpkgs' program for the graphs: a
// line has the SHA-256 of the layers' text, their number, the graph and the limit;
// "sorted" at its end says that layers of equally large closures, which came in no
// order of their own, were sorted as texts.
func TestAutoGolden(t *testing.T) {
	f, err := os.Open("testdata/auto/auto.sums")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := 0
	for in := bufio.NewScanner(f); in.Scan(); lines++ {
		fields := strings.Fields(in.Text())
		graph, limit := fields[2], fields[3]
		n, err := strconv.Atoi(limit)
		if err != nil {
			t.Fatal(err)
		}
		g := goldenGraph(t, graph)
		layers := mustAuto(t, g, n)
		if err := CheckPartition(g.Paths(), layers); err != nil {
			t.Errorf("%s, %d layers: %v", graph, n, err)
		}
		if len(fields) > 4 {
			slices.SortFunc(layers, func(a, b []string) int { return strings.Compare(strings.Join(a, "\n"), strings.Join(b, "\n")) })
		}
		sum := sha256.Sum256([]byte(layersText(layers)))
		if got := fmt.Sprint(hex.EncodeToString(sum[:]), " ", len(layers)); got != fields[0]+" "+fields[1] {
			t.Errorf("%s, %d layers: got %s, want %s %s", graph, n, got, fields[0], fields[1])
		}
	}
	if lines == 0 {
		t.Error("no golden results")
	}
}

// Two of the golden results are there in full, for reading.
func TestAutoGoldenWhole(t *testing.T) {
	files, err := filepath.Glob("testdata/auto/*.layers")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden results: %v", err)
	}
	for _, file := range files {
		graph, limit, _ := strings.Cut(strings.TrimSuffix(filepath.Base(file), ".layers"), ".")
		n, err := strconv.Atoi(limit)
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got := layersText(mustAuto(t, goldenGraph(t, graph), n)); got != string(want) {
			t.Errorf("%s is\n%s\nwant\n%s", file, got, want)
		}
	}
}

// sized gives nodes sizes.
func sized(nodes []Node, sizes ...uint64) []Node {
	for i := range nodes {
		nodes[i].NarSize = sizes[i]
	}
	return nodes
}

func TestAuto(t *testing.T) {
	for _, tt := range []struct {
		what, in string
		sizes    []uint64
		n        int
		ignored  []string
		want     string
	}{
		{what: "nothing", n: 3},
		{what: "one", in: "s/1-a", sizes: []uint64{1}, n: 1, want: "s/1-a"},
		{what: "a limit below one", in: "s/1-b s/2-a", sizes: []uint64{1, 2}, n: 0, want: "s/2-a s/1-b"},
		{what: "what only the largest needs is with it", in: "s/1-big>s/2-own,s/3-shared s/4-other>s/3-shared s/2-own s/3-shared",
			sizes: []uint64{100, 50, 2, 1}, n: 3, want: "s/3-shared|s/4-other|s/1-big s/2-own"},
		{what: "of equal sizes the later one is first", in: "s/1-a s/2-b s/3-c", sizes: []uint64{5, 5, 5}, n: 2, want: "s/3-c|s/1-a s/2-b"},
		{what: "a root that a larger one needs", in: "s/1-big>s/2-small s/2-small>s/3-leaf s/3-leaf", sizes: []uint64{9, 8, 1}, n: 9,
			want: "s/3-leaf|s/2-small|s/1-big"},
		{what: "ignored paths count, and are left out", in: "s/1-a top>s/1-a", sizes: []uint64{1, 9}, n: 2, ignored: []string{"top", "absent"}, want: "s/1-a"},
		{what: "a layer that holds more than ignored paths stays", in: "s/1-a top>s/1-a s/2-b", sizes: []uint64{1, 9, 20}, n: 2, ignored: []string{"top"}, want: "s/1-a|s/2-b"},
		{what: "all is ignored", in: "a b", sizes: []uint64{1, 2}, n: 2, ignored: []string{"a", "b"}},
		{what: "sizes that are not known", in: "s/1-z>s/2-y s/2-y>s/3-x s/3-x", sizes: []uint64{0, 0, 0}, n: 9, want: "s/3-x|s/2-y|s/1-z"},
		{what: "sizes past 64 bits", in: "s/1-a>s/2-b s/2-b s/3-c", sizes: []uint64{math.MaxUint64, math.MaxUint64, 7}, n: 9, want: "s/3-c|s/2-b|s/1-a"},
		{what: "names after the first dash", in: "s/2-b-1 s/1-b-1 s/3-a", sizes: []uint64{1, 1, 1}, n: 1, want: "s/3-a s/1-b-1 s/2-b-1"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			var got []string
			for _, paths := range mustAuto(t, mustGraph(t, sized(parse(tt.in), tt.sizes...)), tt.n, tt.ignored...) {
				got = append(got, strings.Join(paths, " "))
			}
			if text := strings.Join(got, "|"); text != tt.want {
				t.Errorf("%s: got %s, want %s", tt.what, text, tt.want)
			}
		})
	}
}

// plainAuto implements the definition, step by step with sets as maps.
func plainAuto(nodes []Node, n int) [][]string {
	reaches := map[string]map[string]bool{}
	size := map[string]uint64{}
	refs := map[string][]string{}
	for _, node := range nodes {
		size[node.Path], refs[node.Path] = node.NarSize, node.References
	}
	var visit func(from, at string)
	visit = func(from, at string) {
		if !reaches[from][at] {
			reaches[from][at] = true
			for _, ref := range refs[at] {
				visit(from, ref)
			}
		}
	}
	sets := map[string]map[string]bool{}
	for _, node := range nodes {
		reaches[node.Path] = map[string]bool{}
		visit(node.Path, node.Path)
		sets[node.Path] = map[string]bool{}
	}
	order := slices.Clone(nodes)
	slices.Reverse(order)
	slices.SortStableFunc(order, func(a, b Node) int { return cmp.Compare(b.NarSize, a.NarSize) })
	for _, root := range order {
		next := map[string]map[string]bool{}
		for path, set := range sets {
			next[path] = set
			if path == root.Path {
				next[path] = map[string]bool{root.Path: true}
			} else if reaches[root.Path][path] {
				next[path] = plainSet(set, root.Path, reaches)
			}
		}
		if distinct := byKey(next); len(distinct) > n {
			break
		}
		sets = next
	}
	return plainOrder(byKey(sets), size, reaches)
}

func plainSet(set map[string]bool, root string, reaches map[string]map[string]bool) map[string]bool {
	next := map[string]bool{}
	covered := false
	for r := range set {
		if !reaches[r][root] {
			next[r] = true
			covered = covered || reaches[root][r]
		}
	}
	if !covered {
		next[root] = true
	}
	return next
}

func byKey(sets map[string]map[string]bool) map[string][]string {
	layers := map[string][]string{}
	for path, set := range sets {
		var roots []string
		for r := range set {
			roots = append(roots, r)
		}
		slices.Sort(roots)
		key := strings.Join(roots, " ")
		layers[key] = append(layers[key], path)
	}
	return layers
}

func plainOrder(byKey map[string][]string, size map[string]uint64, reaches map[string]map[string]bool) [][]string {
	byName := func(a, b string) int {
		ap, bp := strings.SplitN(a, "-", 2), strings.SplitN(b, "-", 2)
		return cmp.Or(strings.Compare(ap[1], bp[1]), strings.Compare(ap[0], bp[0]))
	}
	var layers [][]string
	for _, paths := range byKey {
		slices.SortFunc(paths, byName)
		layers = append(layers, paths)
	}
	closure := func(paths []string) (sum, count uint64) {
		all := map[string]bool{}
		for _, p := range paths {
			for q := range reaches[p] {
				if !all[q] {
					all[q], sum, count = true, sum+size[q], count+1
				}
			}
		}
		return sum, count
	}
	slices.SortFunc(layers, func(a, b []string) int {
		aSize, aCount := closure(a)
		bSize, bCount := closure(b)
		return cmp.Or(cmp.Compare(aSize, bSize), cmp.Compare(aCount, bCount), byName(a[0], b[0]))
	})
	return layers
}

func TestAutoAgainstDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 3000 {
		nodes := smallGraph(rng)
		for i := range nodes {
			nodes[i].NarSize = rng.Uint64N(6)
		}
		n := 1 + rng.IntN(10)
		got, want := layersText(mustAuto(t, mustGraph(t, nodes), n)), layersText(plainAuto(nodes, n))
		if got != want {
			t.Fatalf("graph %s, %d layers\n got %s\nwant %s", format(nodes), n, got, want)
		}
	}
}

func TestAutoIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := mustGraph(t, windowDAG(100, 3)).Auto(ctx, 9); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want context.Canceled", err)
	}
}

// FuzzAuto reads a graph of up to eight paths from a bit matrix, and their sizes.
func FuzzAuto(f *testing.F) {
	f.Add(uint64(0), uint64(0), uint8(8), uint8(3))
	f.Add(uint64(0x0000000000000102), uint64(0x0102), uint8(3), uint8(2))
	f.Add(uint64(0x7f3f1f0f07030100), uint64(0x0807060504030201), uint8(8), uint8(5))
	f.Add(uint64(0x7f3f1f0f07030100), uint64(0x0101010102020202), uint8(8), uint8(8))
	f.Fuzz(func(t *testing.T, matrix, sizes uint64, n, limit uint8) {
		nodes := make([]Node, n%9)
		for i := range nodes {
			nodes[i] = Node{Path: fmt.Sprintf("%d-%c", i, 'a'+i%2), NarSize: sizes >> (8 * i) & 255}
			for j := range i { // no cycles, which NewGraph refuses
				if matrix>>(8*i+j)&1 != 0 {
					nodes[i].References = append(nodes[i].References, fmt.Sprintf("%d-%c", j, 'a'+j%2))
				}
			}
		}
		g := mustGraph(t, nodes)
		layers := mustAuto(t, g, int(limit))
		if err := CheckPartition(g.Paths(), layers); err != nil || len(layers) > max(1, int(limit)) {
			t.Fatalf("graph %s, at most %d layers: got %q, %v", format(nodes), limit, layers, err)
		}
		if got, want := layersText(layers), layersText(plainAuto(nodes, int(limit))); got != want {
			t.Errorf("graph %s, at most %d layers\n got %s\nwant %s", format(nodes), limit, got, want)
		}
	})
}
