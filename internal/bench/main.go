// Bench compares "varve stream" with the least that any tool has to do: read
// every file of a closure and hash it once, as "tar | openssl sha256" does.
//
// It prints, for the medians of several runs of both in turn, the times, their
// ratio, and varve's peak memory. The closure is made of installed Debian
// packages, see package debstore. Times mean something on a quiet machine only;
// the ratio holds up better.
//
//	go run ./internal/bench -varve ./varve -work DIR [-runs 5] [PACKAGE...]
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
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
	varve := flag.String("varve", "./varve", "the program")
	work := flag.String("work", "", "directory for the store; kept for the next run")
	runs := flag.Int("runs", 5, "runs of each")
	flag.Parse()
	packages := flag.Args()
	if len(packages) == 0 {
		packages = medium
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *varve, *work, *runs, packages); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, varve, work string, runs int, packages []string) error {
	if work == "" || runs < 1 {
		return errors.New("-work needs a directory, -runs at least 1")
	}
	varve, err := filepath.Abs(varve)
	if err != nil {
		return err
	}
	work, err = filepath.Abs(work)
	if err != nil {
		return err
	}
	store := filepath.Join(work, "store")
	summary, err := debstore.Make(ctx, store, work, packages)
	if err != nil {
		return err
	}
	fmt.Printf("%d store paths, %d MB, %d references\n", summary.Paths, summary.Bytes>>20, summary.Edges)
	spec, paths, err := writeSpec(work, store)
	if err != nil {
		return err
	}
	var ours, theirs []time.Duration
	var peak int64
	// The first run of each fills the page cache, and does not count.
	for i := range runs + 1 {
		took, memory, err := stream(ctx, varve, spec)
		if err != nil {
			return err
		}
		reference, err := tarAndHash(ctx, paths)
		if err != nil {
			return err
		}
		if i > 0 {
			ours, theirs = append(ours, took), append(theirs, reference)
			peak = max(peak, memory)
		}
	}
	report(ours, theirs, peak)
	return nil
}

func report(ours, theirs []time.Duration, peak int64) {
	a, b := median(ours), median(theirs)
	fmt.Printf("varve stream          %6.2f s   peak %.1f MiB\n", a.Seconds(), float64(peak)/(1<<20))
	fmt.Printf("tar | openssl sha256  %6.2f s\n", b.Seconds())
	fmt.Printf("ratio                 %6.2f\n", a.Seconds()/b.Seconds())
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

// stream runs varve stream into a pipe that is read and thrown away. It
// returns the time and the peak memory in bytes.
func stream(ctx context.Context, varve, spec string) (time.Duration, int64, error) {
	cmd := exec.CommandContext(ctx, varve, "stream", spec)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, 0, err
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	// os.File's own WriteTo would choose the pieces.
	_, copyErr := io.CopyBuffer(drain{}, struct{ io.Reader }{out}, make([]byte, 1<<20))
	if err := errors.Join(cmd.Wait(), copyErr); err != nil {
		return 0, 0, fmt.Errorf("run %q: %w", cmd.Args, err)
	}
	took := time.Since(start)
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return took, 0, nil
	}
	// Linux counts in KiB, and not below what this program itself held at the
	// start, which is little.
	return took, usage.Maxrss << 10, nil
}

// drain hides io.Discard's ReadFrom, which reads in pieces of 8 KiB.
type drain struct{}

func (drain) Write(p []byte) (int, error) { return len(p), nil }

// tarAndHash runs GNU tar of the paths piped into openssl sha256.
func tarAndHash(ctx context.Context, paths []string) (time.Duration, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	tar := exec.CommandContext(ctx, "tar", append([]string{"-cPf", "-", "--"}, paths...)...)
	tar.Stdout, tar.Stderr = w, os.Stderr
	hash := exec.CommandContext(ctx, "openssl", "sha256")
	hash.Stdin, hash.Stderr = r, os.Stderr
	start := time.Now()
	err = errors.Join(tar.Start(), hash.Start(), w.Close(), r.Close())
	if err != nil {
		return 0, fmt.Errorf("start tar | openssl: %w", err)
	}
	if err := errors.Join(tar.Wait(), hash.Wait()); err != nil {
		return 0, fmt.Errorf("run tar | openssl: %w", err)
	}
	return time.Since(start), nil
}
