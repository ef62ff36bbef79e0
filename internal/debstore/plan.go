package debstore

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/big"
	"os/exec"
	"slices"
	"strings"
)

// statusFormat is dpkg-query's output format for a package, for parseStatus.
const statusFormat = "${Package}\t${Version}\t${Depends}, ${Pre-Depends}\t${Provides}\t${db:Status-Abbrev}\n"

// status is dpkg's record of the installed packages.
type status struct {
	packages map[string]pkg
	// provider is the first package that provides a virtual one.
	provider map[string]string
}

// pkg is a package; each of its dependencies is a list of alternatives.
type pkg struct {
	version string
	depends [][]string
}

// installed gets the installed packages from dpkg.
func installed(ctx context.Context) (*status, error) {
	out, err := exec.CommandContext(ctx, "dpkg-query", "-W", "-f", statusFormat).Output()
	if err != nil {
		return nil, fmt.Errorf("list packages with dpkg-query: %w", err)
	}
	return parseStatus(string(out))
}

func parseStatus(text string) (*status, error) {
	s := &status{packages: map[string]pkg{}, provider: map[string]string{}}
	for line := range strings.Lines(text) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(fields) != 5 {
			return nil, fmt.Errorf("list packages with dpkg-query: line %q has %d fields, want 5", line, len(fields))
		}
		if !strings.HasPrefix(fields[4], "ii") {
			continue
		}
		p := pkg{version: fields[1]}
		for dependency := range strings.SplitSeq(fields[2], ",") {
			var names []string
			for alternative := range strings.SplitSeq(dependency, "|") {
				if name, _, _ := strings.Cut(firstWord(alternative), ":"); name != "" {
					names = append(names, name)
				}
			}
			p.depends = append(p.depends, names)
		}
		s.packages[fields[0]] = p
		for virtual := range strings.SplitSeq(fields[3], ",") {
			name := firstWord(virtual)
			if _, ok := s.provider[name]; !ok && name != "" {
				s.provider[name] = fields[0]
			}
		}
	}
	return s, nil
}

func firstWord(s string) string {
	word, _, _ := strings.Cut(strings.TrimSpace(s), " ")
	return word
}

// resolve returns the package that fulfils a dependency, or "".
func (s *status) resolve(alternatives []string) string {
	for _, name := range alternatives {
		if _, ok := s.packages[name]; ok {
			return name
		}
		if provider, ok := s.provider[name]; ok {
			return provider
		}
	}
	return ""
}

// plan holds the packages of a store, and where each one goes.
type plan struct {
	// order has dependencies before the packages that need them.
	order []string
	// edges maps a package to its dependencies, without those that close a cycle.
	edges map[string][]string
	path  map[string]string
}

func newPlan(store string, s *status, packages []string) (*plan, error) {
	p := &plan{edges: map[string][]string{}, path: map[string]string{}}
	var missing []string
	for _, name := range packages {
		if _, ok := s.packages[name]; !ok {
			missing = append(missing, name)
			continue
		}
		p.visit(s, name, map[string]bool{})
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("make store: packages %q are not installed", missing)
	}
	for _, name := range p.order {
		version := strings.NewReplacer(":", "_", "~", "_").Replace(s.packages[name].version)
		references := p.references(name)
		digest := sha256.Sum256([]byte("debstore:" + name + ":" + version + ":" + strings.Join(references, ",")))
		p.path[name] = store + "/" + base32(digest[:20]) + "-" + name + "-" + version
	}
	return p, nil
}

// visit adds name and everything it depends on. Packages in above are being
// visited: an edge to one of them would close a cycle.
func (p *plan) visit(s *status, name string, above map[string]bool) {
	if _, done := p.edges[name]; done {
		return
	}
	p.edges[name] = nil
	above[name] = true
	for _, alternatives := range s.packages[name].depends {
		to := s.resolve(alternatives)
		if to == "" || above[to] || slices.Contains(p.edges[name], to) {
			continue
		}
		p.edges[name] = append(p.edges[name], to)
		p.visit(s, to, above)
	}
	delete(above, name)
	p.order = append(p.order, name)
}

// references returns the store paths of a package's dependencies, sorted.
func (p *plan) references(name string) []string {
	var paths []string
	for _, to := range p.edges[name] {
		paths = append(paths, p.path[to])
	}
	slices.Sort(paths)
	return paths
}

// closure returns the store paths in the plan's order, given their sizes.
func (p *plan) closure(sizes []int64) ([]Path, Summary) {
	index := map[string]int{}
	for i, name := range p.order {
		index[name] = i
	}
	summary := Summary{Paths: len(p.order)}
	paths := make([]Path, len(p.order))
	reach := make([]map[int]bool, len(p.order))
	for i, name := range p.order {
		reach[i] = map[int]bool{i: true}
		for _, to := range p.edges[name] {
			for j := range reach[index[to]] {
				reach[i][j] = true
			}
		}
		references := append(p.references(name), p.path[name])
		slices.Sort(references)
		paths[i] = Path{Path: p.path[name], NarSize: sizes[i], References: references}
		for j := range reach[i] {
			paths[i].ClosureSize += sizes[j]
		}
		summary.Edges += len(p.edges[name])
		summary.Bytes += sizes[i]
	}
	return paths, summary
}

// base32 writes 20 bytes, a little-endian number, as Nix writes hashes: 32
// digits of 5 bits, the most significant first.
func base32(b []byte) string {
	const alphabet = "0123456789abcdfghijklmnpqrsvwxyz"
	be := slices.Clone(b)
	slices.Reverse(be)
	n := new(big.Int).SetBytes(be)
	var digits [32]byte
	for i := range digits {
		digits[i] = alphabet[new(big.Int).Rsh(n, uint(5*(31-i))).Uint64()&31]
	}
	return string(digits[:])
}
