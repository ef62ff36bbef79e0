package layering

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func mustStable(t testing.TB, g *Graph, n int, previous [][]string) [][]string {
	t.Helper()
	layers, err := g.Stable(t.Context(), g.Paths(), n, previous)
	if err != nil {
		t.Fatal(err)
	}
	return layers
}

// lines returns the fields of a file's lines.
func lines(t testing.TB, name string) [][]string {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all [][]string
	for s := bufio.NewScanner(f); s.Scan(); {
		all = append(all, strings.Fields(s.Text()))
	}
	return all
}

// debianImages reads closures of Debian's packages, as a Nix-like store has them, in the order of
// the file. paths.txt has a line for each path: name, size, source package, and the numbers of the
// paths that it refers to. images.txt has the numbers of an image's paths.
func debianImages(t testing.TB) (names []string, nodes map[string][]Node) {
	t.Helper()
	number := func(text string) int {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	rows := lines(t, "testdata/stable/paths.txt")
	path := func(row int) string { return "/nix/store/" + rows[row][0] }
	all := make([]Node, len(rows))
	for i, row := range rows {
		all[i] = Node{Path: path(i), NarSize: uint64(number(row[1])), Source: row[2]}
		for _, ref := range row[3:] {
			all[i].References = append(all[i].References, path(number(ref)))
		}
	}
	nodes = map[string][]Node{}
	for _, row := range lines(t, "testdata/stable/images.txt") {
		names = append(names, row[0])
		for _, i := range row[1:] {
			nodes[row[0]] = append(nodes[row[0]], all[number(i)])
		}
	}
	return names, nodes
}

// byRule returns the graph of nodes as a rule sees it. path: each path is a source of its own, of
// which a change changes what refers to the path. nix: the source is the package it was built from.
// dpkg: a change of that changes its own paths alone.
func byRule(t testing.TB, nodes []Node, rule string) *Graph {
	t.Helper()
	nodes = slices.Clone(nodes)
	for i := range nodes {
		switch rule {
		case "path":
			nodes[i].Source = ""
		case "dpkg":
			nodes[i].References = nil
		}
	}
	return mustGraph(t, nodes)
}

// sumOf returns the SHA-256 of a division: paths by name in layers, layers sorted as texts.
func sumOf(layers [][]string) string {
	texts := make([]string, len(layers))
	for i, paths := range layers {
		sorted := slices.Clone(paths)
		slices.SortFunc(sorted, func(a, b string) int {
			aHash, aName, _ := strings.Cut(a, "-")
			bHash, bName, _ := strings.Cut(b, "-")
			return strings.Compare(aName+"\x00"+aHash, bName+"\x00"+bHash)
		})
		texts[i] = strings.Join(sorted, "\n") + "\n"
	}
	slices.Sort(texts)
	sum := sha256.Sum256([]byte(strings.Join(texts, "\n")))
	return hex.EncodeToString(sum[:])
}

// testdata/stable/stable.sums holds what another implementation of the rule made: a line has the
// SHA-256 of the division, its number of layers, the image, the limit and the rule. With
// previous=IMAGE that image's own division under the same limit is the plan.
func TestStableGolden(t *testing.T) {
	_, nodes := debianImages(t)
	seen := 0
	for _, line := range lines(t, "testdata/stable/stable.sums") {
		sum, layers, image, limit, rule := line[0], line[1], line[2], line[3], line[4]
		n, err := strconv.Atoi(limit)
		if err != nil {
			t.Fatal(err)
		}
		var plan [][]string
		if len(line) > 5 {
			plan = mustStable(t, byRule(t, nodes[strings.TrimPrefix(line[5], "previous=")], rule), n, nil)
		}
		got := mustStable(t, byRule(t, nodes[image], rule), n, plan)
		if sumOf(got) != sum || strconv.Itoa(len(got)) != layers {
			t.Errorf("%s: got %d layers with the digest %s", strings.Join(line, " "), len(got), sumOf(got))
		}
		seen++
	}
	if seen != 81 {
		t.Errorf("%d divisions, want 81", seen)
	}
}

// figures are what a way of dividing closures costs: see expected.tsv.
type figures struct{ nix, dpkg, registry, pull float64 }

// testdata/stable/expected.tsv has for three ways of dividing the eight images: the share of an
// image's bytes that is sent again when one source changes, on average, if the change changes what
// refers to it (nix) or only its own paths (dpkg); bytes of the distinct layers of all images by
// those of their distinct paths (registry); and bytes of the layers that a host with one image
// lacks of another, by those of the paths that it lacks (pull).
func TestStableFigures(t *testing.T) {
	names, nodes := debianImages(t)
	for _, line := range lines(t, "testdata/stable/expected.tsv")[1:] {
		n, err := strconv.Atoi(line[0])
		if err != nil {
			t.Fatal(err)
		}
		// Only Stable knows of sources: the others divide the graph of references.
		divide := func(nix, changes *Graph) [][]string {
			switch line[1] {
			case "popularity":
				order, err := nix.Popularity(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				return Limit(order, n)
			case "auto":
				return mustAuto(t, nix, n)
			}
			return mustStable(t, changes, n, nil)
		}
		got := measure(t, names, nodes, divide)
		want := func(i int) float64 {
			f, err := strconv.ParseFloat(line[i], 64)
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
		t.Logf("%s %s: %.4f %.4f %.3f %.3f", line[0], line[1], got.nix, got.dpkg, got.registry, got.pull)
		for i, c := range []struct{ got, within float64 }{{got.nix, 1e-4}, {got.dpkg, 1e-4}, {got.registry, 1e-3}, {got.pull, 1e-3}} {
			if math.Abs(c.got-want(i+2)) > c.within {
				t.Errorf("%s %s, column %d: got %.5f, want %s", line[0], line[1], i+3, c.got, line[i+2])
			}
		}
	}
}

func measure(t testing.TB, names []string, nodes map[string][]Node, divide func(nix, changes *Graph) [][]string) (f figures) {
	t.Helper()
	divided := map[string]map[string]float64{} // the sizes of an image's layers, by their paths
	paths := map[string]map[string]float64{}
	for _, name := range names {
		nix, dpkg := byRule(t, nodes[name], "nix"), byRule(t, nodes[name], "dpkg")
		size := map[string]float64{}
		for _, node := range nodes[name] {
			size[node.Path] = float64(node.NarSize)
		}
		layers := divide(nix, nix)
		divided[name], paths[name] = map[string]float64{}, size
		for _, layer := range layers {
			divided[name][sumOf([][]string{layer})] = sumSizes(layer, size)
		}
		f.nix += resent(nix, layers, size) / float64(len(names))
		f.dpkg += resent(dpkg, divide(nix, dpkg), size) / float64(len(names))
	}
	f.registry = unique(divided) / unique(paths)
	var sent, lacking float64
	for _, a := range names {
		for _, b := range names {
			if a != b {
				sent += missing(divided[a], divided[b])
				lacking += missing(paths[a], paths[b])
			}
		}
	}
	f.pull = sent / lacking
	return f
}

func sumSizes(paths []string, size map[string]float64) (sum float64) {
	for _, p := range paths {
		sum += size[p]
	}
	return sum
}

// resent returns the share of the bytes that a change of one source sends again, on average.
func resent(g *Graph, layers [][]string, size map[string]float64) float64 {
	numbers, count := g.numberSources()
	changed := make([]float64, count)
	var all float64
	for _, layer := range layers {
		bytes := sumSizes(layer, size)
		all += bytes
		hit := map[int]bool{}
		for _, v := range marked(g.forward(g.find(layer))) {
			hit[numbers[v]] = true
		}
		for source := range hit {
			changed[source] += bytes
		}
	}
	var sum float64
	for _, bytes := range changed {
		sum += bytes / all
	}
	return sum / float64(count)
}

// unique returns the size of what any image has, once.
func unique(images map[string]map[string]float64) (sum float64) {
	all := map[string]float64{}
	for _, parts := range images {
		for part, size := range parts {
			all[part] = size
		}
	}
	for _, size := range all {
		sum += size
	}
	return sum
}

// missing returns the size of what b has and a has not.
func missing(a, b map[string]float64) (sum float64) {
	for part, size := range b {
		if _, ok := a[part]; !ok {
			sum += size
		}
	}
	return sum
}

// TestStableAdded: what an image sends again, besides what is new, when it gets one path more that
// nothing refers to, with what only that path needs. The mean over the eight images and eight such
// paths of each, as a share of the image.
func TestStableAdded(t *testing.T) {
	names, nodes := debianImages(t)
	const n = 25
	ways := map[string]func(g *Graph, plan [][]string) [][]string{
		"popularity": func(g *Graph, _ [][]string) [][]string {
			order, err := g.Popularity(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return Limit(order, n)
		},
		"auto":                func(g *Graph, _ [][]string) [][]string { return mustAuto(t, g, n) },
		"stable":              func(g *Graph, _ [][]string) [][]string { return mustStable(t, g, n, nil) },
		"stable, with a plan": func(g *Graph, plan [][]string) [][]string { return mustStable(t, g, n, plan) },
	}
	again := map[string]float64{}
	for _, name := range names {
		after := byRule(t, nodes[name], "path")
		all := topPaths(after)
		tops := all[:min(len(all), 8)]
		for _, top := range tops {
			rest := slices.DeleteFunc(slices.Clone(all), func(p string) bool { return p == top })
			paths, err := after.Closure(rest)
			if err != nil {
				t.Fatal(err)
			}
			before := after.Subgraph(paths)
			for way, divide := range ways {
				old := divide(before, nil)
				had := map[string]bool{}
				for _, layer := range old {
					had[strings.Join(layer, "\n")] = true
				}
				sent := before.bytes(paths) - after.bytes(after.paths) // what is new does not count
				for _, layer := range divide(after, old) {
					if !had[strings.Join(layer, "\n")] {
						sent += after.bytes(layer)
					}
				}
				again[way] += sent / after.bytes(after.paths) / float64(len(tops)*len(names))
			}
		}
	}
	for way, share := range again {
		t.Logf("%s: %.4f", way, share)
	}
	if again["stable, with a plan"] > 0.01 || again["stable"] > again["auto"] {
		t.Errorf("sent again: %v", again)
	}
}

// topPaths returns the paths that nothing refers to.
func topPaths(g *Graph) (tops []string) {
	for v, users := range g.users() {
		if len(users) == 0 {
			tops = append(tops, g.paths[v])
		}
	}
	return tops
}
