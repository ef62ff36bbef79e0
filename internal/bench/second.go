package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/varve-image/varve/internal/debstore"
)

// compareSecond measures what builds cost after the first time: the image of the transfers as a base
// of which one variable is changed, a script that is not, and an image of which a store path of 1 MB
// is another, pushed and as a compressed archive.
func (b *bench) compareSecond(ctx context.Context) error {
	dir := filepath.Join(b.work, "transfers")
	if err := b.transferImage(ctx, dir); err != nil {
		return err
	}
	s := &second{bench: b, dir: dir, cache: filepath.Join(b.work, "second-cache"), out: filepath.Join(b.work, "second-out")}
	if err := errors.Join(os.RemoveAll(s.cache), os.RemoveAll(s.out), os.MkdirAll(s.out, 0o755)); err != nil {
		return err
	}
	defer os.RemoveAll(s.cache)
	defer os.RemoveAll(s.out)
	host, stop, err := startRegistry(ctx, filepath.Join(s.out, "registry"))
	if err != nil {
		return err
	}
	defer stop()
	s.host = host
	fmt.Println("the second build")
	for _, measure := range []func(context.Context) error{s.variable, s.script, s.path} {
		if err := measure(ctx); err != nil {
			return err
		}
	}
	return nil
}

// second has what measurements of second builds share.
type second struct {
	*bench
	dir, cache, out, host string
	// made are the store paths that changed made.
	made []string
}

// variable changes a variable of a base that the registry has.
func (s *second) variable(ctx context.Context) error {
	base := "oci:" + filepath.Join(s.dir, "layout") + ":x"
	return s.print(ctx, "a base with one variable changed, pushed", "user processor time <= 0.3 s", func(i int) []string {
		return []string{"build", "--name", "variable", "--from", base, "--env", fmt.Sprintf("A=%d", i), "-o", "docker://" + s.host + "/bench:x"}
	})
}

// script runs a script that makes 100 MB, or does not.
func (s *second) script(ctx context.Context) error {
	return s.print(ctx, "an unchanged script that made 100 MB, to a layout", "user processor time <= 0.3 s", func(int) []string {
		return []string{"build", "--name", "script", "--extra-commands", "head -c 100000000 /dev/urandom > made", "-o", "oci:" + filepath.Join(s.out, "script") + ":x"}
	})
}

// path gives an image another store path of 1 MB, which no other path needs.
func (s *second) path(ctx context.Context) error {
	archive := filepath.Join(s.out, "out.tar.gz")
	defer func() {
		for _, path := range s.made {
			os.RemoveAll(path)
		}
	}()
	for _, to := range []struct{ name, dest, goal string }{
		{"a store path of 1 MB changed, pushed", "docker://" + s.host + "/path:x", "<= 0.5 s"},
		{"a store path of 1 MB changed, .tar.gz", archive, "<= 2 x cat of it to a file"},
	} {
		var failed error
		err := s.print(ctx, to.name, to.goal, func(int) []string {
			spec, err := s.changed()
			failed = errors.Join(failed, err)
			return []string{"build", spec, "-o", to.dest}
		})
		if err := errors.Join(failed, err); err != nil {
			return err
		}
	}
	var costs []cost
	for range s.runs {
		c, err := s.measure(exec.CommandContext(ctx, "sh", "-c", `exec cat "$1" >"$1.copy"`, "sh", archive))
		if err != nil {
			return err
		}
		costs = append(costs, c)
	}
	c := medianCost(costs)
	fmt.Printf("  %-52s %6.2f s (processor %6.2f s)\n", "cat of that archive to a file", c.wall.Seconds(), c.processor.Seconds())
	return nil
}

// changed writes the spec of the transfers' image with one more store path, another each time. Its
// files are older than what a cache may not trust.
func (s *second) changed() (spec string, err error) {
	data, err := os.ReadFile(filepath.Join(s.dir, "closure.json"))
	if err != nil {
		return "", err
	}
	var graph struct {
		Closure []debstore.Path `json:"closure"`
	}
	if err := json.Unmarshal(data, &graph); err != nil {
		return "", err
	}
	if data, err = os.ReadFile(filepath.Join(s.dir, "bench.json")); err != nil {
		return "", err
	}
	var image map[string]any
	if err := json.Unmarshal(data, &image); err != nil {
		return "", err
	}
	content := make([]byte, 1<<20)
	for i := range content {
		content[i] = byte(rand.Uint32())
	}
	hash := make([]byte, 32)
	for i := range hash {
		hash[i] = "0123456789abcdfghijklmnpqrsvwxyz"[content[i]%32]
	}
	path := filepath.Join(image["storeDir"].(string), string(hash)+"-changing")
	s.made = append(s.made, path)
	graph.Closure = append(graph.Closure, debstore.Path{Path: path, NarSize: 1 << 20, References: []string{path}, ClosureSize: 1 << 20})
	config := image["config"].(map[string]any)
	config["Env"] = append(config["Env"].([]any), "CHANGING="+path)
	image["closure"] = filepath.Join(s.out, "closure.json")
	spec = filepath.Join(s.out, "changed.json")
	err = errors.Join(os.Mkdir(path, 0o755), os.WriteFile(filepath.Join(path, "file"), content, 0o644),
		writeJSON(image["closure"].(string), graph), writeJSON(spec, image))
	time.Sleep(2 * time.Second)
	return spec, err
}

// print measures a command, whose first run does not count, and prints the medians.
func (s *second) print(ctx context.Context, name, goal string, command func(i int) []string) error {
	var costs []cost
	var user []time.Duration
	for i := range s.runs + 1 {
		args := append(command(i), "--quiet", "--cache", s.cache)
		if strings.HasPrefix(args[len(args)-4], "docker://") {
			args = append(args, "--insecure", s.host)
		}
		cmd := exec.CommandContext(ctx, s.varve, args...)
		c, err := s.measure(cmd)
		if err != nil {
			return err
		}
		if i > 0 {
			costs, user = append(costs, c), append(user, cmd.ProcessState.UserTime())
		}
	}
	c := medianCost(costs)
	fmt.Printf("  %-52s %6.2f s (processor %6.2f s, user %5.2f s)   goal: %s\n",
		name, c.wall.Seconds(), c.processor.Seconds(), median(user).Seconds(), goal)
	return nil
}

// measure runs a command.
func (*second) measure(cmd *exec.Cmd) (cost, error) {
	cmd.Stderr = os.Stderr
	syscall.Sync() // earlier writes are not this command's to wait for
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return cost{}, fmt.Errorf("run %q: %w", cmd.Args, err)
	}
	return cost{time.Since(start), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}, nil
}
