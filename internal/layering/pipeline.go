package layering

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/internal/problems"
)

// Pipeline divides a graph into layers, in the language of nixpkgs'
// layeringPipeline: operations, each applied to the result of the one before,
// the first one to the graph. operations lists them.
//
// A result is a graph, a list, or parts: values with the names main, common and
// rest. However these are nested, the graphs in the last operation's result are
// the layers, in order.
//
// A graph has its paths by size, smallest first, and paths of one size in the
// given order; all parts of it keep that order. Names of paths that it does not
// have are ignored.
type Pipeline struct {
	steps []step
}

// step is an operation with its arguments.
type step struct {
	// place is the step's position in the pipeline, for messages.
	place, name string
	apply       applyFunc
}

// value is a *Graph, a []value or parts.
type value any

// parts are values with names, in order.
type parts []part

type part struct {
	name  string
	value value
}

type applyFunc func(ctx context.Context, v value) (value, error)

// operation is one of the words of the language.
type operation struct {
	form string
	// compile makes the operation from its arguments, of which there are as many as
	// in form.
	compile func(c *compiler, place string, args []any) applyFunc
	args    int
}

func operations() map[string]operation {
	return map[string]operation{
		"popularity_contest": {`["popularity_contest"]`, compileNothing(onGraph(contest)), 0},
		"reverse":            {`["reverse"]`, compileNothing(onList(reverse)), 0},
		"flatten":            {`["flatten"]`, compileNothing(flattenValue), 0},
		"limit_layers":       {`["limit_layers", COUNT]`, compileLimit, 1},
		"split_every":        {`["split_every", COUNT]`, compileSplitEvery, 1},
		"split_paths":        {`["split_paths", [PATH or {"children_of": PATH}, …]]`, compileSplitPaths, 1},
		"subcomponent_out":   {`["subcomponent_out", [PATH, …]]`, compileSubcomponent((*Graph).forward), 1},
		"subcomponent_in":    {`["subcomponent_in", [PATH, …]]`, compileSubcomponent((*Graph).backward), 1},
		"remove_paths":       {`["remove_paths", [PATH, …]]`, compileRemove, 1},
		"over":               {`["over", NAME, OPERATION]`, compileOver, 2},
		"map":                {`["map", OPERATION]`, compileMap, 1},
		"pipe":               {`["pipe", [OPERATION, …]]`, compilePipe, 1},
	}
}

// ParsePipeline reads a pipeline: v is a list as package ordjson has it. All faults
// are reported together, with their place in the list; name is the list's name in
// messages.
func ParsePipeline(name string, v any) (*Pipeline, error) {
	c := &compiler{}
	steps := c.steps(name, v)
	if err := c.Err(); err != nil {
		return nil, err
	}
	return &Pipeline{steps}, nil
}

// compiler turns JSON into steps and collects what is wrong with it.
type compiler struct {
	problems.List
}

func at(place string, i int) string { return place + "[" + strconv.Itoa(i) + "]" }

func (c *compiler) steps(place string, v any) []step {
	list, ok := v.([]any)
	if !ok {
		c.Addf("%s: got %s, want a list of operations such as [[\"popularity_contest\"], [\"limit_layers\", 100]]", place, describeJSON(v))
		return nil
	}
	if len(list) > 0 {
		if _, ok := list[0].(string); ok {
			c.Addf("%s: got one operation, want a list of them: put it into brackets", place)
			return nil
		}
	}
	steps := make([]step, len(list))
	for i, item := range list {
		steps[i] = c.step(at(place, i), item)
	}
	return steps
}

func (c *compiler) step(place string, v any) step {
	list, _ := v.([]any)
	var name string
	if len(list) > 0 {
		name, _ = list[0].(string)
	}
	if name == "" {
		c.Addf("%s: got %s, want an operation: a list of its name and its arguments, such as [\"limit_layers\", 100]", place, describeJSON(v))
		return step{}
	}
	op, ok := operations()[name]
	if !ok {
		names := slices.Sorted(maps.Keys(operations()))
		c.Addf("%s: unknown operation %q, want one of %s", place, name, strings.Join(names, ", "))
		return step{}
	}
	if len(list)-1 != op.args {
		c.Addf("%s: %s takes %d arguments and got %d: write %s", place, name, op.args, len(list)-1, op.form)
		return step{}
	}
	return step{place: place, name: name, apply: op.compile(c, place, list[1:])}
}

// paths reads a list of paths.
func (c *compiler) paths(place string, v any) []string {
	paths, err := ordjson.StringList(place, v)
	if err != nil {
		c.Addf("%s: got %s, want a list of store paths", place, describeJSON(v))
	}
	return paths
}

// oneOrMore reads a list of paths, or a single one.
func (c *compiler) oneOrMore(place string, v any) []string {
	if path, ok := v.(string); ok {
		return []string{path}
	}
	return c.paths(place, v)
}

// count reads a number of at least 1.
func (c *compiler) count(place string, v any) int {
	number, _ := v.(json.Number)
	n, err := strconv.Atoi(string(number))
	if err != nil || n < 1 {
		c.Addf("%s: got %s, want a whole number of at least 1", place, describeJSON(v))
	}
	return n
}

// Apply divides the graph. Empty layers are left out. removed are the paths that
// remove_paths took out; every other path is in exactly one layer.
func (p *Pipeline) Apply(ctx context.Context, g *Graph) (layers [][]string, removed []string, err error) {
	made, err := run(ctx, p.steps, g.bySize())
	if err != nil {
		return nil, nil, err
	}
	placed := map[string]bool{}
	for _, graph := range graphs(made) {
		if len(graph.paths) > 0 {
			layers = append(layers, graph.Paths())
		}
		for _, path := range graph.paths {
			placed[path] = true
		}
	}
	for _, path := range g.paths {
		if !placed[path] {
			removed = append(removed, path)
		}
	}
	return layers, removed, nil
}

func run(ctx context.Context, steps []step, v value) (value, error) {
	for _, s := range steps {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		made, err := s.apply(ctx, v)
		if err != nil {
			return nil, s.blame(err)
		}
		v = made
	}
	return v, nil
}

// stepError is an error that already says where in the pipeline it arose.
type stepError struct{ error }

func (e stepError) Unwrap() error { return e.error }

func (s step) blame(err error) error {
	var placed stepError
	if errors.As(err, &placed) {
		return err
	}
	return stepError{fmt.Errorf("%s: %s: %w", s.place, s.name, err)}
}

// graphs returns the graphs in a value, in order.
func graphs(v value) []*Graph {
	var list []*Graph
	switch v := v.(type) {
	case *Graph:
		return []*Graph{v}
	case []value:
		for _, item := range v {
			list = append(list, graphs(item)...)
		}
	case parts:
		for _, part := range v {
			list = append(list, graphs(part.value)...)
		}
	}
	return list
}

// describe describes a value, for "got …".
func describe(v value) string {
	switch v := v.(type) {
	case *Graph:
		return "a graph"
	case []value:
		return "a list"
	case parts:
		return "the parts " + v.names()
	}
	return "nothing"
}

func (p parts) names() string {
	var names []string
	for _, part := range p {
		names = append(names, part.name)
	}
	return quoteList(names, ", ")
}

// describeJSON describes a value of the pipeline.
func describeJSON(v any) string {
	text, err := ordjson.Marshal(v)
	if err != nil {
		return "nothing usable"
	}
	short := strings.NewReplacer("[ ", "[", " ]", "]", "{ ", "{", " }", "}").Replace(strings.Join(strings.Fields(string(text)), " "))
	if len(short) > 60 {
		short = short[:60] + "…"
	}
	return short
}
