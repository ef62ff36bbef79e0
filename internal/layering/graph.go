// Package layering decides which store paths share a layer.
//
// Guarantees:
//
//   - The results depend on the arguments alone: nothing is read from the
//     machine and no order is left to chance.
//   - A Graph is complete and has no cycle: NewGraph refuses any other, naming
//     every fault it finds. It never changes, and may be used by several
//     goroutines.
//   - Popularity orders as nixpkgs' dockerTools does, in exact integers. So does Stable compare
//     costs: no sum or product of sizes wraps around.
//   - Memory is limited: a graph whose numbers would exceed the limit (see
//     Popularity) is refused.
//   - CheckPartition proves for any plan that no path is lost or stored twice.
//
// Non-goals: looking into a store, and judging names. A path is any string that
// stands for its content; its dashes matter only to the order of paths.
package layering

import (
	"fmt"
	"slices"
	"strings"

	"github.com/varve-image/varve/internal/problems"
)

// Node is a store path with its references.
type Node struct {
	// Path is the store path, such as /nix/store/<hash>-<name>.
	Path string
	// NarSize is the size of the path's archive in bytes.
	NarSize uint64
	// References are the store paths that the files below Path mention. Path
	// itself may be among them.
	References []string
	// Source names what Path is made from: a change of it changes Path and all paths that refer to
	// Path. Empty stands for Path itself, which is then made from nothing that others are made from.
	Source string
}

// Graph holds store paths and the references between them.
type Graph struct {
	paths []string
	sizes []uint64
	// sources are as Node has them.
	sources []string
	refs    [][]int // for each path, what it refers to, without itself, each once
	index   map[string]int
	topo    []int // every path, after all paths that refer to it
}

// NewGraph checks nodes and keeps them in their order. References of a path to
// itself are dropped and repeated ones folded. A path that is given twice, a
// reference to a path that is not given, and a cycle are errors, reported
// together.
func NewGraph(nodes []Node) (*Graph, error) {
	g, first, faults := addPaths(nodes)
	last := make([]int, len(g.paths))
	for i, node := range first {
		for _, missing := range g.addReferences(i, nodes[node].References, last) {
			faults.Addf("%q refers to %q, which is not in the graph; give the whole closure", g.paths[i], missing)
		}
	}
	g.topo = g.sortReferrersFirst()
	if len(g.topo) < len(g.paths) {
		faults.Addf("the references form a cycle: %s", g.cycle())
	}
	if err := faults.Err(); err != nil {
		return nil, fmt.Errorf("read reference graph: %w", err)
	}
	return g, nil
}

// addPaths makes a graph of the nodes' paths, without references. first says which
// node each path came from.
func addPaths(nodes []Node) (g *Graph, first []int, faults *problems.List) {
	g = &Graph{index: make(map[string]int, len(nodes))}
	faults = &problems.List{}
	for i, node := range nodes {
		if _, ok := g.index[node.Path]; ok {
			faults.Addf("%q is given twice", node.Path)
			continue
		}
		g.index[node.Path] = len(g.paths)
		g.paths = append(g.paths, node.Path)
		g.sizes = append(g.sizes, node.NarSize)
		first = append(first, i)
		g.sources = append(g.sources, node.Source)
	}
	g.refs = make([][]int, len(g.paths))
	return g, first, faults
}

// addReferences gives path number i its references and returns those that are not
// in the graph. For each path, last holds 1 + the number of the path that was last
// found to refer to it.
func (g *Graph) addReferences(i int, references []string, last []int) (missing []string) {
	lost := map[string]bool{}
	for _, ref := range references {
		j, ok := g.index[ref]
		switch {
		case !ok && !lost[ref]:
			lost[ref] = true
			missing = append(missing, ref)
		case ok && j != i && last[j] != i+1:
			last[j] = i + 1
			g.refs[i] = append(g.refs[i], j)
		}
	}
	return missing
}

// sortReferrersFirst returns the paths in topological order. Paths on a cycle, and
// paths below one, are left out.
func (g *Graph) sortReferrersFirst() []int {
	waiting := g.countReferrers()
	order := make([]int, 0, len(g.paths))
	for i, n := range waiting {
		if n == 0 {
			order = append(order, i)
		}
	}
	for next := 0; next < len(order); next++ {
		for _, j := range g.refs[order[next]] {
			if waiting[j]--; waiting[j] == 0 {
				order = append(order, j)
			}
		}
	}
	return order
}

// countReferrers returns, for each path, the number of other paths that refer to it.
func (g *Graph) countReferrers() []int {
	count := make([]int, len(g.paths))
	for _, refs := range g.refs {
		for _, j := range refs {
			count[j]++
		}
	}
	return count
}

// cycle names the paths of a cycle, given that g.topo lacks some paths.
func (g *Graph) cycle() string {
	sorted := make([]bool, len(g.paths))
	for _, i := range g.topo {
		sorted[i] = true
	}
	// A path that could not be sorted has a referrer that could not be sorted
	// either; following these referrers must come round.
	referrer := make([]int, len(g.paths))
	at := -1
	for i, refs := range g.refs {
		if sorted[i] {
			continue
		}
		at = i
		for _, j := range refs {
			referrer[j] = i
		}
	}
	passed := make([]bool, len(g.paths))
	for ; !passed[at]; at = referrer[at] {
		passed[at] = true
	}
	names := []string{g.paths[at]}
	for i := referrer[at]; i != at; i = referrer[i] {
		names = append(names, g.paths[i])
	}
	slices.Reverse(names)
	return quoteList(names, " -> ") + " -> " + quoteList(names[:1], "")
}

// Paths returns the paths in the order in which they were given.
func (g *Graph) Paths() []string {
	return slices.Clone(g.paths)
}

// Nodes returns the graph in the form that NewGraph takes: without references of a
// path to itself and without repeated ones.
func (g *Graph) Nodes() []Node {
	nodes := make([]Node, len(g.paths))
	for i, path := range g.paths {
		nodes[i] = Node{Path: path, NarSize: g.sizes[i], Source: g.sources[i]}
		for _, j := range g.refs[i] {
			nodes[i].References = append(nodes[i].References, g.paths[j])
		}
	}
	return nodes
}

// Closure returns roots and everything they refer to, directly or not, in the
// graph's order. Roots that are not in the graph are an error that names them.
func (g *Graph) Closure(roots []string) ([]string, error) {
	var unknown []string
	for _, root := range roots {
		if _, ok := g.index[root]; !ok {
			unknown = append(unknown, root)
		}
	}
	if len(unknown) > 0 {
		return nil, fmt.Errorf("find closure: not in the reference graph: %s", quoteList(unknown, ", "))
	}
	var closure []string
	for _, i := range marked(reach(g.find(roots), g.refs, nil)) {
		closure = append(closure, g.paths[i])
	}
	return closure, nil
}

// Subgraph returns the graph of just paths: in g's order, without references to any
// other path. Paths that g does not have are ignored.
func (g *Graph) Subgraph(paths []string) *Graph {
	keep := make([]bool, len(g.paths))
	for _, i := range g.find(paths) {
		keep[i] = true
	}
	return g.induced(marked(keep))
}

// find returns the vertices of paths: their numbers in g's order. Paths that g
// does not have are left out.
func (g *Graph) find(paths []string) []int {
	var vertices []int
	for _, path := range paths {
		if i, ok := g.index[path]; ok {
			vertices = append(vertices, i)
		}
	}
	return vertices
}

// marked returns the numbers of the vertices that are marked.
func marked(vertices []bool) []int {
	var list []int
	for i, m := range vertices {
		if m {
			list = append(list, i)
		}
	}
	return list
}

// induced returns the graph of vertices, each given once, in their order and
// without references to any other.
func (g *Graph) induced(vertices []int) *Graph {
	sub := &Graph{index: make(map[string]int, len(vertices))}
	number := make(map[int]int, len(vertices))
	for n, i := range vertices {
		number[i] = n
		sub.index[g.paths[i]] = n
		sub.paths = append(sub.paths, g.paths[i])
		sub.sizes = append(sub.sizes, g.sizes[i])
		sub.sources = append(sub.sources, g.sources[i])
	}
	sub.refs = make([][]int, len(vertices))
	for n, i := range vertices {
		for _, j := range g.refs[i] {
			if m, ok := number[j]; ok {
				sub.refs[n] = append(sub.refs[n], m)
			}
		}
	}
	sub.topo = sub.sortReferrersFirst()
	return sub
}

// reach marks start and all vertices that edges lead to from them. It does not
// go into a vertex that is marked in blocked, which may be nil.
func reach(start []int, edges [][]int, blocked []bool) []bool {
	reached := make([]bool, len(edges))
	var todo []int
	enter := func(i int) {
		if !reached[i] && (blocked == nil || !blocked[i]) {
			reached[i] = true
			todo = append(todo, i)
		}
	}
	for _, i := range start {
		enter(i)
	}
	for len(todo) > 0 {
		i := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, j := range edges[i] {
			enter(j)
		}
	}
	return reached
}

// maxNamed is how many names a message lists.
const maxNamed = 20

// quoteList writes names for a message: quoted, and only as many as a person reads.
func quoteList(names []string, separator string) string {
	var b strings.Builder
	for i, name := range names {
		if i > 0 {
			b.WriteString(separator)
		}
		if i == maxNamed {
			fmt.Fprintf(&b, "%d more", len(names)-i)
			break
		}
		fmt.Fprintf(&b, "%q", name)
	}
	return b.String()
}
