package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"

	"github.com/varve-image/varve/internal/enginetest"
)

const (
	// Besides its store paths, the image that is loaded has some layers of random bytes.
	loadLayers    = 4
	loadLayerSize = 400 << 20
)

// compareLoads measures what it takes to build an image of 3 GB, of which the uppermost layer, of 1 MB,
// is another than before, into each engine, and compares with the engine's own command that loads
// an archive of it whole.
func (b *bench) compareLoads(ctx context.Context) error {
	dir := filepath.Join(b.work, "transfers")
	if err := b.transferImage(ctx, dir); err != nil {
		return err
	}
	s := &second{bench: b, dir: dir, cache: filepath.Join(b.work, "loads-cache"), out: filepath.Join(b.work, "loads-out")}
	if err := errors.Join(os.RemoveAll(s.cache), os.RemoveAll(s.out), os.MkdirAll(s.out, 0o755)); err != nil {
		return err
	}
	defer os.RemoveAll(s.cache)
	defer os.RemoveAll(s.out)
	for i := range loadLayers {
		if err := writeRandom(filepath.Join(s.out, fmt.Sprint("layer-", i)), loadLayerSize); err != nil {
			return err
		}
	}
	fmt.Println("loads of an image of 3 GB, of which a layer of 1 MB changed; goal: <= 1.5 s")
	for _, name := range enginetest.Names() {
		if err := s.load(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

func writeRandom(name string, size int64) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, rand.Reader, size)
	return errors.Join(err, f.Close())
}

// into says how varve finds an engine.
var into = map[string]struct{ transport, variable string }{
	"docker": {"docker-daemon", "DOCKER_HOST"}, "docker-classic": {"docker-daemon", "DOCKER_HOST"}, "containerd": {"containerd", "CONTAINERD_ADDRESS"},
}

// load measures one engine.
func (s *second) load(ctx context.Context, name string) error {
	at, ok := into[name]
	if !ok { // Podman has no address
		return nil
	}
	var engines enginetest.Set
	defer engines.Stop()
	engine, err := engines.Start(name)
	if err != nil {
		fmt.Printf("  %-16s %v\n", name, err)
		return nil
	}
	var costs []cost
	sent := ""
	for i := range s.runs + 1 { // the first one loads all of it
		spec, err := s.changedLarge()
		if err != nil {
			return err
		}
		cmd := exec.CommandContext(ctx, s.varve, "build", spec, "--cache", s.cache, "-o", at.transport+":bench:x")
		cmd.Env = append(os.Environ(), at.variable+"="+engine.Address(), "CONTAINERD_NAMESPACE=varve")
		var said bytes.Buffer
		cmd.Stderr = &said
		start := time.Now()
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("run %q: %w: %s", cmd.Args, err, said.String())
		}
		if i > 0 {
			costs = append(costs, cost{time.Since(start), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()})
			sent = regexp.MustCompile(`[0-9.]+ [kMG]?B sent`).FindString(said.String())
		}
	}
	whole, err := s.loadWhole(ctx, engine)
	if err != nil {
		return err
	}
	c := medianCost(costs)
	fmt.Printf("  %-16s %6.2f s (processor %6.2f s, %s)   its own command, whole %6.2f s   ratio %.2f\n",
		name, c.wall.Seconds(), c.processor.Seconds(), sent, whole.Seconds(), c.wall.Seconds()/whole.Seconds())
	return nil
}

// loadWhole loads an archive of another such image with the engine's own command.
func (s *second) loadWhole(ctx context.Context, engine enginetest.Engine) (time.Duration, error) {
	spec, err := s.changedLarge()
	if err != nil {
		return 0, err
	}
	archive := filepath.Join(s.out, "whole.tar")
	defer os.Remove(archive)
	if err := exec.CommandContext(ctx, s.varve, "build", spec, "--cache", s.cache, "-q", "-o", archive).Run(); err != nil {
		return 0, err
	}
	args := []string{"load", "--input", archive}
	if engine.Name() == "containerd" {
		args = []string{"image", "import", archive}
	}
	cmd := engine.Command(ctx, args...)
	start := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("run %q: %w: %s", cmd.Args, err, out)
	}
	return time.Since(start), nil
}

// changedLarge writes the spec of the transfers' image with layers of random bytes, of which the
// uppermost, of 1 MB, is another each time.
func (s *second) changedLarge() (spec string, err error) {
	data, err := os.ReadFile(filepath.Join(s.dir, "bench.json"))
	if err != nil {
		return "", err
	}
	var image map[string]any
	if err := json.Unmarshal(data, &image); err != nil {
		return "", err
	}
	if err := writeRandom(filepath.Join(s.out, "changing"), 1<<20); err != nil {
		return "", err
	}
	var layers []any
	add := func(name string) {
		layers = append(layers, map[string]any{"copyToRoot": []any{map[string]any{"source": filepath.Join(s.out, name), "target": "/" + name}}})
	}
	for i := range loadLayers {
		add(fmt.Sprint("layer-", i))
	}
	add("changing")
	image["layers"] = layers
	time.Sleep(2 * time.Second) // what has just been changed is not remembered
	spec = filepath.Join(s.out, "large.json")
	return spec, writeJSON(spec, image)
}
