package layering

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// nodesOf returns nodes of the form "name=size>reference,reference".
func nodesOf(t testing.TB, text string) []Node {
	t.Helper()
	var nodes []Node
	for _, field := range strings.Fields(text) {
		field, refs, _ := strings.Cut(field, ">")
		name, size, _ := strings.Cut(field, "=")
		node := Node{Path: name}
		if _, err := fmt.Sscan(size, &node.NarSize); err != nil {
			t.Fatal(err)
		}
		if refs != "" {
			node.References = strings.Split(refs, ",")
		}
		nodes = append(nodes, node)
	}
	return nodes
}

// layersOf reads layers of the form "a b|c".
func layersOf(text string) [][]string {
	var layers [][]string
	for _, layer := range strings.Split(text, "|") {
		layers = append(layers, strings.Fields(layer))
	}
	return layers
}

func textOf(layers [][]string) string {
	var texts []string
	for _, paths := range layers {
		texts = append(texts, strings.Join(paths, " "))
	}
	return strings.Join(texts, "|")
}

func TestStable(t *testing.T) {
	const chain = "x-app=10>x-lib,x-etc x-lib=50>x-libc x-libc=100 x-etc=1 x-doc=2"
	for _, tt := range []struct {
		name, nodes string
		n           int
		plan, want  string
	}{
		{"nothing", "", 3, "", ""},
		{"one layer", chain, 1, "", "x-app x-doc x-etc x-lib x-libc"},
		{"less than one", chain, math.MinInt, "", "x-app x-doc x-etc x-lib x-libc"},
		{"one each", chain, 5, "", "x-etc|x-doc|x-libc|x-lib|x-app"},
		{"more than there are", chain, math.MaxInt, "", "x-etc|x-doc|x-libc|x-lib|x-app"},
		// Two are big. Joining app and etc costs 3 more, and so does joining doc and etc.
		{"the least cost, then the least size", chain, 4, "", "x-libc|x-doc x-etc|x-lib|x-app"},
		{"big ones alone", chain, 3, "", "x-libc|x-lib|x-app x-doc x-etc"},
		{"equal sizes, by name", "a-c=1 b-b=1 c-a=1 d-d=1", 3, "", "c-a|b-b|a-c d-d"},
		{"the hash decides last", "b-x=1 a-x=1 c-x=1", 2, "", "a-x|b-x c-x"},

		{"a plan is kept", chain, 3, "x-libc x-etc", "x-libc x-etc|x-lib|x-app x-doc"},
		{"its order, and its paths' order", chain, 4, "x-etc x-doc|x-libc x-app", "x-etc x-doc|x-libc x-app|x-lib"},
		{"not what lacks a path", chain, 5, "x-libc x-gone", "x-etc|x-doc|x-libc|x-lib|x-app"},
		{"each path once", chain, 5, "x-etc x-etc", "x-etc|x-doc|x-libc|x-lib|x-app"},
		{"the larger of two with a path in common", chain, 3, "x-etc x-doc|x-doc x-libc", "x-doc x-libc|x-lib|x-app x-etc"},
		{"the first of two as large", chain, 3, "x-etc x-libc|x-libc x-etc", "x-etc x-libc|x-lib|x-app x-doc"},
		{"the smallest is given up", chain, 2, "x-doc|x-libc|x-lib", "x-libc|x-app x-doc x-etc x-lib"},
		{"a whole plan needs no other layer", chain, 2, "x-doc x-etc x-app|x-lib x-libc", "x-doc x-etc x-app|x-lib x-libc"},
		{"kept where there is a layer for each", chain, 100, "x-libc x-lib", "x-libc x-lib|x-etc|x-doc|x-app"},
		{"empty layers", chain, 1, "||", "x-app x-doc x-etc x-lib x-libc"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := mustStable(t, mustGraph(t, nodesOf(t, tt.nodes)), tt.n, layersOf(tt.plan))
			if textOf(got) != tt.want {
				t.Errorf("got %s, want %s", textOf(got), tt.want)
			}
		})
	}
}

// TestStablePart: of paths that are left out, as those of explicit layers, the references count.
func TestStablePart(t *testing.T) {
	g := mustGraph(t, nodesOf(t, "x-a=5>x-base x-b=5>x-base x-c=5 x-base=900"))
	got, err := g.Stable(t.Context(), []string{"x-c", "x-b", "x-a", "x-c", "x-unknown"}, 2, layersOf("x-base x-a"))
	if err != nil || textOf(got) != "x-a|x-b x-c" {
		t.Errorf("got %s, %v", textOf(got), err)
	}
}

func TestStableCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	g := mustGraph(t, randomDAG(100, 200))
	if _, err := g.Stable(ctx, g.Paths(), 10, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestStableManyPaths: above the limit, neighbours share a group, and all else holds.
func TestStableManyPaths(t *testing.T) {
	nodes := randomDAG(2000, 6000)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range nodes {
		nodes[i].NarSize = rng.Uint64N(1 << 20)
	}
	for _, n := range []int{40, 1900} {
		checkStable(t, nodes, n, nil)
	}
}

// FuzzStable divides graphs of up to 40 paths, with sizes that no sum of 64 bits holds, and with a
// plan, and compares the result with the rule as one writes it down.
func FuzzStable(f *testing.F) {
	f.Add(uint64(1), uint64(2), uint8(10), uint8(3), uint8(2))
	f.Add(uint64(3), uint64(4), uint8(40), uint8(12), uint8(6))
	f.Add(uint64(5), uint64(6), uint8(30), uint8(29), uint8(9))
	f.Fuzz(func(t *testing.T, a, b uint64, paths, limit, planned uint8) {
		rng := rand.New(rand.NewPCG(a, b))
		nodes := randomDAG(int(paths%40)+1, rng.IntN(80))
		for i := range nodes {
			nodes[i].NarSize = rng.Uint64() >> rng.IntN(64)
			if rng.IntN(3) == 0 {
				nodes[i].Source = fmt.Sprint("source ", rng.IntN(5))
			}
		}
		var plan [][]string
		for range planned % 10 {
			var layer []string
			for range rng.IntN(4) {
				layer = append(layer, nodes[rng.IntN(len(nodes))].Path)
			}
			if rng.IntN(8) == 0 {
				layer = append(layer, "/nix/store/gone-1.0")
			}
			plan = append(plan, layer)
		}
		n := int(limit%45) + 1
		got := checkStable(t, nodes, n, plan)
		if want := plainStable(t, nodes, n, plan); !reflect.DeepEqual(got, want) {
			t.Errorf("got\n%s\nwant\n%s", textOf(got), textOf(want))
		}
	})
}

// checkStable divides nodes, and checks what holds for every division.
func checkStable(t *testing.T, nodes []Node, n int, plan [][]string) [][]string {
	t.Helper()
	g := mustGraph(t, nodes)
	layers := mustStable(t, g, n, plan)
	if err := CheckPartition(g.Paths(), layers); err != nil {
		t.Fatal(err)
	}
	if len(layers) > n || n >= len(nodes) && plan == nil && len(layers) != len(nodes) {
		t.Fatalf("%d layers of %d paths, and %d are allowed", len(layers), len(nodes), n)
	}
	if len(layers) < min(n, len(nodes)) && plan == nil {
		t.Errorf("only %d layers of %d paths, and %d are allowed", len(layers), len(nodes), n)
	}
	shuffled := slices.Clone(nodes)
	rand.New(rand.NewPCG(uint64(n), 9)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	if again := mustStable(t, mustGraph(t, shuffled), n, plan); !reflect.DeepEqual(again, layers) {
		t.Fatal("the order of the input decides")
	}
	if again := mustStable(t, g, n, layers); !reflect.DeepEqual(again, layers) {
		t.Errorf("with itself as the plan\n%s\nbecomes\n%s", textOf(layers), textOf(again))
	}
	return layers
}

// plainGroup is a layer as plainStable makes it.
type plainGroup struct {
	paths  []string
	number int
	alone  bool
}

// plainStable is the rule of Stable without any thought for time or memory.
func plainStable(t *testing.T, nodes []Node, n int, plan [][]string) [][]string {
	g := mustGraph(t, nodes)
	numbers, _ := g.numberSources()
	size := func(paths []string) *big.Int {
		sum := new(big.Int)
		for _, p := range paths {
			sum.Add(sum, new(big.Int).SetUint64(g.sizes[g.index[p]]))
		}
		return sum
	}
	sources := func(paths []string) int64 {
		set := map[int]bool{}
		for _, v := range marked(g.forward(g.find(paths))) {
			set[numbers[v]] = true
		}
		return int64(len(set))
	}
	cost := func(paths []string) *big.Int { return size(paths).Mul(size(paths), big.NewInt(sources(paths))) }
	byName := func(a, b string) int {
		aHash, aName, _ := strings.Cut(a, "-")
		bHash, bName, _ := strings.Cut(b, "-")
		return cmp.Or(strings.Compare(aName, bName), strings.Compare(aHash, bHash))
	}
	pool := slices.SortedFunc(slices.Values(g.Paths()), byName)
	n = min(n, len(pool))
	bySize := slices.Clone(pool)
	slices.SortStableFunc(bySize, func(a, b string) int { return size([]string{b}).Cmp(size([]string{a})) })
	big := bySize[:2*n/3]

	kept := plainKept(g, &pool, n, plan, size)
	var groups []plainGroup
	free := n - len(kept)
	for _, p := range big {
		inPool := slices.Contains(pool, p)
		others := len(pool) > 1
		if inPool && (len(groups) < free-1 || len(groups) < free && !others) {
			groups = append(groups, plainGroup{paths: []string{p}, alone: true})
			pool = slices.DeleteFunc(pool, func(q string) bool { return q == p })
		}
	}
	next := 0
	for _, p := range pool {
		groups = append(groups, plainGroup{paths: []string{p}, number: next})
		next++
	}
	for ; len(groups) > free; next++ {
		groups = plainJoin(groups, next, size, cost)
	}
	for i := range groups {
		slices.SortFunc(groups[i].paths, byName)
	}
	slices.SortFunc(groups, func(a, b plainGroup) int {
		return cmp.Or(cmp.Compare(sources(a.paths), sources(b.paths)), size(a.paths).Cmp(size(b.paths)), byName(a.paths[0], b.paths[0]))
	})
	for _, group := range groups {
		kept = append(kept, group.paths)
	}
	return kept
}

func plainKept(g *Graph, pool *[]string, n int, plan [][]string, size func([]string) *big.Int) [][]string {
	var complete, kept [][]string
	for _, layer := range plan {
		var once []string
		for _, p := range layer {
			if !slices.Contains(once, p) {
				once = append(once, p)
			}
		}
		if len(once) > 0 && len(g.find(once)) == len(once) {
			complete = append(complete, once)
		}
	}
	order := slices.Clone(complete)
	slices.SortStableFunc(order, func(a, b []string) int { return size(b).Cmp(size(a)) })
	left := slices.Clone(*pool)
	for _, layer := range order {
		if slices.ContainsFunc(layer, func(p string) bool { return !slices.Contains(left, p) }) {
			continue
		}
		kept = append(kept, layer)
		left = slices.DeleteFunc(left, func(p string) bool { return slices.Contains(layer, p) })
	}
	for len(kept) > n || len(left) > 0 && len(kept) == n {
		left = append(left, kept[len(kept)-1]...)
		kept = kept[:len(kept)-1]
	}
	*pool = slices.DeleteFunc(*pool, func(p string) bool { return !slices.Contains(left, p) })
	var inOrder [][]string
	for _, layer := range complete {
		at := slices.IndexFunc(kept, func(k []string) bool { return &k[0] == &layer[0] })
		if at >= 0 {
			inOrder = append(inOrder, layer)
		}
	}
	return inOrder
}

// plainJoin joins the two groups whose cost grows least.
func plainJoin(groups []plainGroup, number int, size, cost func([]string) *big.Int) []plainGroup {
	type candidate struct {
		i, j         int
		growth, size *big.Int
		low, high    int
	}
	var best *candidate
	for i, a := range groups {
		for j := range i {
			b := groups[j]
			if a.alone || b.alone {
				continue
			}
			both := slices.Concat(a.paths, b.paths)
			growth := cost(both)
			growth.Sub(growth, cost(a.paths)).Sub(growth, cost(b.paths))
			c := &candidate{i, j, growth, size(both), min(a.number, b.number), max(a.number, b.number)}
			if best == nil || cmp.Or(c.growth.Cmp(best.growth), c.size.Cmp(best.size), cmp.Compare(c.low, best.low), cmp.Compare(c.high, best.high)) < 0 {
				best = c
			}
		}
	}
	made := plainGroup{paths: slices.Concat(groups[best.i].paths, groups[best.j].paths), number: number}
	groups = slices.Delete(groups, best.i, best.i+1) // i is the later
	groups = slices.Delete(groups, best.j, best.j+1)
	return append(groups, made)
}

// manyNodes returns the nodes of 20,000 paths with 100,000 references and sizes.
func manyNodes() []Node {
	nodes := randomDAG(20000, 100000)
	rng := rand.New(rand.NewPCG(7, 8))
	for i := range nodes {
		nodes[i].NarSize = rng.Uint64N(1 << 30)
	}
	return nodes
}

// ways are the ways of dividing a graph into n layers.
func ways() map[string]func(ctx context.Context, g *Graph, n int) error {
	return map[string]func(context.Context, *Graph, int) error{
		"popularity": func(ctx context.Context, g *Graph, n int) error {
			order, err := g.Popularity(ctx)
			Limit(order, n)
			return err
		},
		"auto": func(ctx context.Context, g *Graph, n int) error {
			_, err := g.Auto(ctx, n)
			return err
		},
		"stable": func(ctx context.Context, g *Graph, n int) error {
			_, err := g.Stable(ctx, g.Paths(), n, nil)
			return err
		},
		"stable, with a plan": func(ctx context.Context, g *Graph, n int) error {
			var plan [][]string
			for i := 0; i+100 < len(g.paths); i += 200 {
				plan = append(plan, g.paths[i:i+100])
			}
			_, err := g.Stable(ctx, g.Paths(), n, plan)
			return err
		},
	}
}

// TestMemory: no way of dividing 20,000 paths takes 256 MiB.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes some seconds")
	}
	g := mustGraph(t, manyNodes())
	for name, divide := range ways() {
		t.Run(name, func(t *testing.T) {
			runtime.GC()
			var peak uint64
			stop := watchHeap(&peak)
			err := divide(t.Context(), g, 100)
			stop()
			if err != nil || peak > 256<<20 {
				t.Errorf("at most %d MiB, %v", peak>>20, err)
			}
			t.Logf("at most %d MiB", peak>>20)
		})
	}
}

// The limit to keep for 20,000 paths and 100,000 references: 5 s and 256 MiB, each way.
func BenchmarkWays(b *testing.B) {
	g := mustGraph(b, manyNodes())
	for name, divide := range ways() {
		b.Run(name, func(b *testing.B) {
			var peak uint64
			runtime.GC()
			for b.Loop() {
				stop := watchHeap(&peak)
				err := divide(b.Context(), g, 100)
				stop()
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(peak)/(1<<20), "peak-MiB")
		})
	}
}

// BenchmarkStable has graphs that are unlike each other. The worst for joining are those in which
// all groups have the same best partner.
func BenchmarkStable(b *testing.B) {
	star := named(20000)
	for i := range star[1:] {
		star[i+1].References = []string{star[0].Path}
		star[i+1].NarSize = uint64(1000 + i)
	}
	for _, bm := range []struct {
		name  string
		nodes []Node
	}{
		{"window", windowDAG(20000, 10)},
		{"bipartite", bipartiteDAG(2000, 10)},
		{"star", star},
		{"random100k", randomDAG(100000, 1000000)},
	} {
		b.Run(bm.name, func(b *testing.B) {
			g := mustGraph(b, bm.nodes)
			var peak uint64
			runtime.GC()
			for b.Loop() {
				stop := watchHeap(&peak)
				_, err := g.Stable(b.Context(), g.Paths(), 100, nil)
				stop()
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(peak)/(1<<20), "peak-MiB")
		})
	}
}
