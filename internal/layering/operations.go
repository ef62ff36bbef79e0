package layering

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/varve-image/varve/image/ordjson"
)

// The names of parts.
const (
	mainPart   = "main"
	commonPart = "common"
	restPart   = "rest"
)

func compileNothing(apply applyFunc) func(*compiler, string, []any) applyFunc {
	return func(*compiler, string, []any) applyFunc { return apply }
}

func compileLimit(c *compiler, place string, args []any) applyFunc {
	n := c.count(at(place, 1), args[0])
	return onList(func(_ context.Context, list []value) (value, error) { return limitLayers(list, n) })
}

func compileSplitEvery(c *compiler, place string, args []any) applyFunc {
	n := c.count(at(place, 1), args[0])
	return onGraph(func(_ context.Context, g *Graph) (value, error) { return g.splitEvery(n), nil })
}

func compileRemove(c *compiler, place string, args []any) applyFunc {
	paths := c.oneOrMore(at(place, 1), args[0])
	return onGraph(func(_ context.Context, g *Graph) (value, error) {
		_, rest := g.divide(mark(len(g.paths), g.find(paths)))
		return rest, nil
	})
}

func compileSubcomponent(reached func(*Graph, []int) []bool) func(*compiler, string, []any) applyFunc {
	return func(c *compiler, place string, args []any) applyFunc {
		paths := c.paths(at(place, 1), args[0])
		return onGraph(func(_ context.Context, g *Graph) (value, error) {
			of, rest := g.divide(reached(g, g.find(paths)))
			return parts{{mainPart, of}, {restPart, rest}}, nil
		})
	}
}

// splitPath is an argument of split_paths: it splits off paths or, with children,
// the paths that they refer to.
type splitPath struct {
	paths    []string
	children bool
}

func compileSplitPaths(c *compiler, place string, args []any) applyFunc {
	place = at(place, 1)
	list, ok := args[0].([]any)
	if !ok {
		c.Addf("%s: got %s, want a list of store paths and of {\"children_of\": PATH}", place, describeJSON(args[0]))
	}
	wanted := make([]splitPath, len(list))
	for i, item := range list {
		wanted[i] = c.splitPath(at(place, i), item)
	}
	return onGraph(func(_ context.Context, g *Graph) (value, error) {
		var vertices []int
		for _, w := range wanted {
			found := g.find(w.paths)
			if !w.children {
				vertices = append(vertices, found...)
				continue
			}
			for _, i := range found {
				vertices = append(vertices, g.refs[i]...)
			}
		}
		return g.splitPaths(vertices), nil
	})
}

func (c *compiler) splitPath(place string, v any) splitPath {
	if path, ok := v.(string); ok {
		return splitPath{paths: []string{path}}
	}
	if o, ok := v.(*ordjson.Object); ok && len(o.Members) == 1 && o.Members[0].Key == "children_of" {
		return splitPath{paths: c.oneOrMore(place+".children_of", o.Members[0].Value), children: true}
	}
	c.Addf("%s: got %s, want a store path or {\"children_of\": PATH}", place, describeJSON(v))
	return splitPath{}
}

func compileOver(c *compiler, place string, args []any) applyFunc {
	name, ok := args[0].(string)
	if !ok {
		c.Addf("%s: got %s, want the name of a part: main, common or rest", at(place, 1), describeJSON(args[0]))
	}
	inner := c.step(at(place, 2), args[1])
	return func(ctx context.Context, v value) (value, error) {
		p, ok := v.(parts)
		if !ok {
			return nil, fmt.Errorf("got %s, want the parts that split_paths, subcomponent_out or subcomponent_in makes", describe(v))
		}
		i := slices.IndexFunc(p, func(part part) bool { return part.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no part %q here, only %s", name, p.names())
		}
		made, err := run(ctx, []step{inner}, p[i].value)
		if err != nil {
			return nil, err
		}
		changed := slices.Clone(p)
		changed[i].value = made
		return changed, nil
	}
}

func compileMap(c *compiler, place string, args []any) applyFunc {
	inner := c.step(at(place, 1), args[0])
	return onList(func(ctx context.Context, list []value) (value, error) {
		made := make([]value, len(list))
		for i, item := range list {
			var err error
			if made[i], err = run(ctx, []step{inner}, item); err != nil {
				return nil, err
			}
		}
		return made, nil
	})
}

func compilePipe(c *compiler, place string, args []any) applyFunc {
	steps := c.steps(at(place, 1), args[0])
	return func(ctx context.Context, v value) (value, error) { return run(ctx, steps, v) }
}

// onGraph makes an operation from one that works on graphs alone.
func onGraph(apply func(context.Context, *Graph) (value, error)) applyFunc {
	return func(ctx context.Context, v value) (value, error) {
		if g, ok := v.(*Graph); ok {
			return apply(ctx, g)
		}
		hint := `apply it to each element with ["map", …]`
		if p, ok := v.(parts); ok && len(p) > 0 {
			hint = fmt.Sprintf(`apply it to one of them with ["over", %q, …]`, p[0].name)
		}
		return nil, fmt.Errorf("got %s, want a graph: %s", describe(v), hint)
	}
}

// onList makes an operation from one that works on lists alone.
func onList(apply func(context.Context, []value) (value, error)) applyFunc {
	return func(ctx context.Context, v value) (value, error) {
		if list, ok := v.([]value); ok {
			return apply(ctx, list)
		}
		hint := `make one with ["popularity_contest"] or ["split_every", COUNT]`
		if _, ok := v.(parts); ok {
			hint = `make one with ["flatten"]`
		}
		return nil, fmt.Errorf("got %s, want a list: %s", describe(v), hint)
	}
}

// contest makes a graph of each path, the most popular one first.
func contest(ctx context.Context, g *Graph) (value, error) {
	order, err := g.Popularity(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]value, len(order))
	for i, path := range order {
		list[i] = g.induced([]int{g.index[path]})
	}
	return list, nil
}

func reverse(_ context.Context, list []value) (value, error) {
	reversed := slices.Clone(list)
	slices.Reverse(reversed)
	return reversed, nil
}

func flattenValue(_ context.Context, v value) (value, error) {
	all := graphs(v)
	list := make([]value, len(all))
	for i, g := range all {
		list[i] = g
	}
	return list, nil
}

// limitLayers keeps the first n-1 values and merges the others, which have to be
// graphs if there is more than one.
func limitLayers(list []value, n int) (value, error) {
	if len(list) <= n {
		return list, nil
	}
	var rest []*Graph
	for _, v := range list[n-1:] {
		g, ok := v.(*Graph)
		if !ok {
			return nil, fmt.Errorf("got a list that holds %s, want a list of graphs: make one with [\"flatten\"]", describe(v))
		}
		rest = append(rest, g)
	}
	return append(slices.Clone(list[:n-1]), merge(rest)), nil
}

// merge returns one graph of all paths, graph after graph. References between the
// graphs are in none of them, and so not in the result.
func merge(list []*Graph) *Graph {
	all := &Graph{index: map[string]int{}}
	for _, g := range list {
		first := len(all.paths)
		for i, path := range g.paths {
			all.index[path] = first + i
			refs := make([]int, len(g.refs[i]))
			for k, j := range g.refs[i] {
				refs[k] = first + j
			}
			all.refs = append(all.refs, refs)
		}
		all.paths = append(all.paths, g.paths...)
		all.sizes = append(all.sizes, g.sizes...)
		all.sources = append(all.sources, g.sources...)
		for _, i := range g.topo {
			all.topo = append(all.topo, first+i)
		}
	}
	return all
}

// bySize returns the graph with its paths ordered by size.
func (g *Graph) bySize() *Graph {
	order := make([]int, len(g.paths))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(g.sizes[a], g.sizes[b]) })
	return g.induced(order)
}

func (g *Graph) splitEvery(n int) value {
	list := []value{}
	vertices := make([]int, len(g.paths))
	for i := range vertices {
		vertices[i] = i
	}
	for chunk := range slices.Chunk(vertices, n) {
		list = append(list, g.induced(chunk))
	}
	return list
}

// splitPaths divides the graph by what vertices and the other paths need: main has
// what vertices alone need, themselves included; common has what both need.
//
// As in nixpkgs, references to paths that are split off are not part of the result,
// unless the graph has a single root, which is split off.
func (g *Graph) splitPaths(vertices []int) value {
	if len(vertices) == 0 {
		return parts{{restPart, g}}
	}
	split := mark(len(g.paths), vertices)
	roots := g.roots()
	if len(roots) == 1 && split[roots[0]] {
		return parts{{mainPart, g}}
	}
	needed := g.forward(vertices)
	g = g.unreferenced(split)
	elsewhere := reach(roots, g.refs, split)
	var inMain, inCommon, inRest []int
	for i := range g.paths {
		switch {
		case needed[i] && elsewhere[i]:
			inCommon = append(inCommon, i)
		case needed[i]:
			inMain = append(inMain, i)
		default:
			inRest = append(inRest, i)
		}
	}
	var made parts
	for _, p := range []struct {
		name     string
		vertices []int
	}{{mainPart, inMain}, {commonPart, inCommon}, {restPart, inRest}} {
		if len(p.vertices) > 0 {
			made = append(made, part{p.name, g.induced(p.vertices)})
		}
	}
	return made
}

// unreferenced returns the graph without the references to marked vertices.
func (g *Graph) unreferenced(marks []bool) *Graph {
	cut := *g
	cut.refs = make([][]int, len(g.refs))
	for i, refs := range g.refs {
		for _, j := range refs {
			if !marks[j] {
				cut.refs[i] = append(cut.refs[i], j)
			}
		}
	}
	return &cut // an order of all references is one of some
}

// divide returns the graph of the marked vertices and the graph of all others.
func (g *Graph) divide(of []bool) (marks, rest *Graph) {
	others := make([]bool, len(of))
	for i, m := range of {
		others[i] = !m
	}
	return g.induced(marked(of)), g.induced(marked(others))
}

// roots returns the vertices that no other refers to.
func (g *Graph) roots() []int {
	var roots []int
	for i, n := range g.countReferrers() {
		if n == 0 {
			roots = append(roots, i)
		}
	}
	return roots
}

// forward marks vertices and everything they refer to, directly or not.
func (g *Graph) forward(vertices []int) []bool { return reach(vertices, g.refs, nil) }

// backward marks vertices and everything that refers to them, directly or not.
func (g *Graph) backward(vertices []int) []bool { return reach(vertices, g.users(), nil) }

// users returns, for each vertex, the vertices that refer to it.
func (g *Graph) users() [][]int {
	users := make([][]int, len(g.paths))
	for i, refs := range g.refs {
		for _, j := range refs {
			users[j] = append(users[j], i)
		}
	}
	return users
}

// mark marks some of n vertices.
func mark(n int, vertices []int) []bool {
	marks := make([]bool, n)
	for _, i := range vertices {
		marks[i] = true
	}
	return marks
}
