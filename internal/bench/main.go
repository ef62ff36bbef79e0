// Bench compares varve with the minimum work of any tool for the same closure:
// reading every file and hashing it once ("tar | openssl sha256"), or reading and
// compressing it once ("tar | pigz", "tar | zstd").
//
// It prints, for the medians of several alternating runs, the times, their ratio,
// and varve's peak memory. The closures are made of installed Debian packages, see
// package debstore: the medium one of some, the large one of all. Times are
// meaningful on a quiet machine only; ratios are more robust.
//
// It does the same for 100,000 files of 1 KB, or as many as -files says, as a tree and as a
// store path, with nothing remembered and with a cache that knows them.
//
// It also prints what a script that does nothing costs over a build without it, in
// namespaces and in a virtual machine, beside the target.
//
// It prints what builds cost the second time: a base with one variable changed, a script that is
// not, an image with another store path of 1 MB.
//
// It loads an image of 3 GB after such a change into the engines that there are, in root's hands; those
// of hack/engines are asked for by VARVE_ENGINES=current.
//
// And it copies an image of 1 GB to and from docker-registry on the loopback
// device and between archive and layout, as "skopeo copy" does in the same run.
//
//	go run ./internal/bench -varve ./varve -work DIR [-runs 5] [-large=false] [-closures=false] [-files N] [-steps=false] [-transfers=false] [-second=false] [-loads=false] [PACKAGE...]
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/varve-image/varve/internal/debstore"
)

// medium is a closure of about 120 paths and 430 MB.
var medium = []string{"git", "python3", "podman", "nodejs", "perl"}

func main() {
	b := &bench{}
	flag.StringVar(&b.varve, "varve", "./varve", "the program")
	flag.StringVar(&b.work, "work", "", "directory for the stores; kept for the next run")
	flag.IntVar(&b.runs, "runs", 5, "runs of each")
	flag.BoolVar(&b.large, "large", true, "measure the closure of every installed package too")
	flag.BoolVar(&b.closures, "closures", true, "measure closures")
	flag.IntVar(&b.files, "files", 100_000, "measure so many small files; 0 for none")
	flag.BoolVar(&b.steps, "steps", true, "measure scripts")
	flag.BoolVar(&b.transfers, "transfers", true, "measure copies of an image of 1 GB")
	flag.BoolVar(&b.second, "second", true, "measure second builds")
	flag.BoolVar(&b.loads, "loads", true, "measure loads of an image of 3 GB into engines")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := b.run(ctx, flag.Args()); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

type bench struct {
	varve, work string
	runs        int
	// What to measure.
	closures, large, steps, transfers, second, loads bool
	files                                            int
}

func (b *bench) run(ctx context.Context, packages []string) (err error) {
	if b.work == "" || b.runs < 1 {
		return errors.New("-work needs a directory, -runs at least 1")
	}
	if b.varve, err = filepath.Abs(b.varve); err != nil {
		return err
	}
	if b.work, err = filepath.Abs(b.work); err != nil {
		return err
	}
	if b.transfers {
		if err := b.compareTransfers(ctx); err != nil {
			return err
		}
	}
	if b.second {
		if err := b.compareSecond(ctx); err != nil {
			return err
		}
	}
	if b.loads {
		if err := b.compareLoads(ctx); err != nil {
			return err
		}
	}
	if b.steps {
		if err := b.compareSteps(ctx); err != nil {
			return err
		}
	}
	if b.files > 0 {
		if err := b.compareFiles(ctx, b.files); err != nil {
			return err
		}
	}
	if !b.closures {
		return nil
	}
	return b.compareClosures(ctx, packages)
}

// compareClosures measures a closure of the packages, and one of all installed packages.
func (b *bench) compareClosures(ctx context.Context, packages []string) error {
	if len(packages) == 0 {
		packages = medium
	}
	c, err := b.closure(ctx, "medium", installed(ctx, packages))
	if err != nil {
		return err
	}
	if err := b.compareAll(ctx, c, true); err != nil || !b.large {
		return err
	}
	if c, err = b.closure(ctx, "large", installed(ctx, nil)); err != nil {
		return err
	}
	return b.compareAll(ctx, c, false)
}

// installed returns the installed ones of the packages; without packages, all
// installed ones.
func installed(ctx context.Context, packages []string) []string {
	args := append([]string{"-W", "-f", "${db:Status-Abbrev}${Package}\n"}, packages...)
	// It fails if a package is missing, but lists the others.
	out, _ := exec.CommandContext(ctx, "dpkg-query", args...).Output()
	var have []string
	for line := range strings.Lines(string(out)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "ii "); ok {
			have = append(have, name)
		}
	}
	return have
}

// closure is a closure to make images of.
type closure struct {
	spec  string
	paths []string
}

func (b *bench) closure(ctx context.Context, name string, packages []string) (*closure, error) {
	dir := filepath.Join(b.work, name)
	summary, err := debstore.Make(ctx, filepath.Join(dir, "store"), dir, packages)
	if err != nil {
		return nil, err
	}
	fmt.Printf("%s: %d store paths, %d MB, %d references\n", name, summary.Paths, summary.Bytes>>20, summary.Edges)
	spec, paths, err := writeSpec(dir, filepath.Join(dir, "store"))
	return &closure{spec, paths}, err
}

// compareAll measures varve's outputs of a closure against other tools that read
// the same files once.
func (b *bench) compareAll(ctx context.Context, c *closure, compressed bool) error {
	out := filepath.Join(b.work, "out")
	defer func() {
		for _, ending := range []string{".tar", ".tar.gz", ".tar.zst"} {
			os.Remove(out + ending)
		}
	}()
	// The first run, which does not count, fills the cache of the warm ones.
	cache := filepath.Join(b.work, "cache")
	defer os.RemoveAll(cache)
	type pair struct{ ours, theirs []string }
	cold := func(theirs []string, ours ...string) pair { return pair{append(ours, "--no-cache"), theirs} }
	warm := func(theirs []string, ours ...string) pair { return pair{append(ours, "--cache", cache), theirs} }
	openssl, cat := []string{"openssl", "sha256"}, []string{"cat"}
	pairs := []pair{cold(openssl, "stream", c.spec), warm(cat, "stream", c.spec)}
	if compressed {
		pairs = append(pairs,
			cold(openssl, "build", c.spec, "-o", out+".tar"),
			warm(cat, "build", c.spec, "-o", out+".tar"),
			cold([]string{"pigz", "-n"}, "build", c.spec, "-o", out+".tar.gz"),
			warm(cat, "build", c.spec, "-o", out+".tar.gz"),
			cold([]string{"zstd", "-3", "-T2"}, "build", c.spec, "-o", out+".tar.zst"),
			warm(cat, "build", c.spec, "-o", out+".tar.zst"))
	}
	for _, p := range pairs {
		if err := b.compare(ctx, c, p.ours, p.theirs); err != nil {
			return err
		}
	}
	return nil
}

// compare runs varve with arguments and tar piped into another program in
// turn, and prints the medians.
func (b *bench) compare(ctx context.Context, c *closure, args, reference []string) error {
	var ours, theirs []time.Duration
	var peak int64
	// The first run of each fills the page cache and does not count.
	for i := range b.runs + 1 {
		took, memory, err := b.runVarve(ctx, args)
		if err != nil {
			return err
		}
		other, err := tarInto(ctx, c.paths, reference)
		if err != nil {
			return err
		}
		if i > 0 {
			ours, theirs = append(ours, took), append(theirs, other)
			peak = max(peak, memory)
		}
	}
	what := "varve " + args[0]
	if args[0] == "build" {
		what += " " + strings.TrimPrefix(filepath.Base(args[3]), "out")
	}
	if slices.Contains(args, "--cache") {
		what += ", warm"
	}
	x, y := median(ours), median(theirs)
	fmt.Printf("  %-28s %6.2f s   peak %5.1f MiB   %-22s %6.2f s   ratio %.2f\n",
		what, x.Seconds(), float64(peak)/(1<<20), "tar | "+strings.Join(reference, " "), y.Seconds(), x.Seconds()/y.Seconds())
	return nil
}

func median(times []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(times))
	return sorted[len(sorted)/2]
}

// writeSpec writes the spec of an image of the whole closure. It returns its
// name, and the store paths.
func writeSpec(work, store string) (spec string, paths []string, err error) {
	closure := filepath.Join(work, "closure.json")
	data, err := os.ReadFile(closure)
	if err != nil {
		return "", nil, err
	}
	var graph struct{ Closure []debstore.Path }
	if err := json.Unmarshal(data, &graph); err != nil {
		return "", nil, fmt.Errorf("read %s: %w", closure, err)
	}
	for _, p := range graph.Closure {
		paths = append(paths, p.Path)
	}
	roots, err := os.ReadFile(filepath.Join(work, "roots"))
	if err != nil {
		return "", nil, err
	}
	text, err := json.MarshalIndent(map[string]any{
		"name": "bench", "tag": "latest", "storeDir": store, "closure": closure,
		"config": map[string]any{"Env": []string{"ROOTS=" + strings.Join(strings.Fields(string(roots)), ":")}},
	}, "", "  ")
	if err != nil {
		return "", nil, err
	}
	spec = filepath.Join(work, "bench.json")
	return spec, paths, os.WriteFile(spec, text, 0o644)
}

// runVarve runs varve piped into cat, as tar is piped into the other programs. It returns
// the time and varve's peak memory in bytes.
func (b *bench) runVarve(ctx context.Context, args []string) (time.Duration, int64, error) {
	varve := exec.CommandContext(ctx, b.varve, append([]string{"--quiet"}, args...)...)
	took, err := piped(varve, exec.CommandContext(ctx, "cat"))
	if err != nil {
		return 0, 0, err
	}
	usage, ok := varve.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return took, 0, nil
	}
	// Linux counts in KiB, and never less than this program itself held at the
	// start, which is little.
	return took, usage.Maxrss << 10, nil
}

// piped runs one program piped into another, whose output is discarded.
func piped(from, to *exec.Cmd) (time.Duration, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	from.Stdout, from.Stderr = w, os.Stderr
	to.Stdin, to.Stderr = r, os.Stderr
	start := time.Now()
	err = errors.Join(from.Start(), to.Start(), w.Close(), r.Close())
	if err != nil {
		return 0, fmt.Errorf("start %q: %w", from.Args, err)
	}
	if err := errors.Join(from.Wait(), to.Wait()); err != nil {
		return 0, fmt.Errorf("run %q: %w", from.Args, err)
	}
	return time.Since(start), nil
}

// tarInto runs GNU tar of the paths piped into another program, whose output is
// discarded.
func tarInto(ctx context.Context, paths, program []string) (time.Duration, error) {
	tar := exec.CommandContext(ctx, "tar", append([]string{"-cPf", "-", "--"}, paths...)...)
	return piped(tar, exec.CommandContext(ctx, program[0], program[1:]...))
}
