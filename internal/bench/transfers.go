package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// transferSize is the approximate size of the image, in KiB, as dpkg counts.
const transferSize = 1 << 20

// transfer is a copy that varve and skopeo make of the same image. In its
// references OLD is a registry that has the image, NEW an empty one, and DIR the
// working directory.
type transfer struct {
	name, from, to string
}

// transfers are the copies to measure.
var transfers = []transfer{
	{"push", "oci:DIR/layout:x", "docker://NEW/bench:x"},
	{"pull", "docker://OLD/bench:x", "oci:DIR/out/layout:x"},
	{"pull, unpacked", "docker://OLD/bench:x", "docker-archive:DIR/out/image.tar:bench:x"},
	{"copy", "docker://OLD/bench:x", "docker://NEW/bench:x"},
	{"archive to layout", "docker-archive:DIR/image.tar", "oci:DIR/out/layout:x"},
	{"layout to archive", "oci:DIR/layout:x", "docker-archive:DIR/out/image.tar:bench:x"},
}

// compareTransfers compares copies of an image of 1 GB, to and from
// docker-registry on the loopback device, with those that skopeo makes.
func (b *bench) compareTransfers(ctx context.Context) error {
	dir := filepath.Join(b.work, "transfers")
	if err := b.transferImage(ctx, dir); err != nil {
		return err
	}
	old, stop, err := startRegistry(ctx, filepath.Join(dir, "old"))
	if err != nil {
		return err
	}
	defer stop()
	if _, err := b.transferOnce(ctx, dir, transfer{from: "oci:DIR/layout:x", to: "docker://OLD/bench:x"}, old, b.copyArgs); err != nil {
		return err
	}
	for _, tr := range transfers {
		var ours, theirs []cost
		for i := range b.runs + 1 { // the first run of each fills the page cache
			x, err := b.transferOnce(ctx, dir, tr, old, b.copyArgs)
			if err != nil {
				return err
			}
			y, err := b.transferOnce(ctx, dir, tr, old, skopeoArgs)
			if err != nil {
				return err
			}
			if i > 0 {
				ours, theirs = append(ours, x), append(theirs, y)
			}
		}
		x, y := medianCost(ours), medianCost(theirs)
		fmt.Printf("  %-18s %6.2f s (processor %6.2f s)   skopeo copy %6.2f s (%6.2f s)   ratio %.2f (%.2f)\n",
			tr.name, x.wall.Seconds(), x.processor.Seconds(), y.wall.Seconds(), y.processor.Seconds(),
			x.wall.Seconds()/y.wall.Seconds(), x.processor.Seconds()/y.processor.Seconds())
	}
	return nil
}

// transferImage makes the image, as a layout and as an archive, unless it exists.
func (b *bench) transferImage(ctx context.Context, dir string) error {
	layout, archive := filepath.Join(dir, "layout"), filepath.Join(dir, "image.tar")
	if _, err := os.Stat(archive); err == nil {
		return nil
	}
	c, err := b.closure(ctx, "transfers", installedUpTo(ctx, transferSize))
	if err != nil {
		return err
	}
	if err := os.RemoveAll(layout); err != nil {
		return err
	}
	for _, dest := range []string{"oci:" + layout + ":x", archive} {
		if _, _, err := b.runVarve(ctx, []string{"build", c.spec, "-o", dest}); err != nil {
			return err
		}
	}
	return nil
}

// installedUpTo returns installed packages that have at most size KiB.
func installedUpTo(ctx context.Context, size int) []string {
	out, _ := exec.CommandContext(ctx, "dpkg-query", "-W", "-f", "${db:Status-Abbrev}${Package} ${Installed-Size}\n").Output()
	var have []string
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) != 3 || f[0] != "ii" {
			continue
		}
		n, err := strconv.Atoi(f[2])
		if size -= n; err != nil || size < 0 {
			break
		}
		have = append(have, f[1])
	}
	return have
}

// cost is the time that a command took.
type cost struct{ wall, processor time.Duration }

func medianCost(costs []cost) cost {
	var wall, processor []time.Duration
	for _, c := range costs {
		wall, processor = append(wall, c.wall), append(processor, c.processor)
	}
	return cost{median(wall), median(processor)}
}

func (b *bench) copyArgs(from, to string, hosts ...string) []string {
	args := []string{b.varve, "copy", "--quiet"}
	for _, h := range hosts {
		args = append(args, "--insecure", h)
	}
	return append(args, from, to)
}

func skopeoArgs(from, to string, _ ...string) []string {
	return []string{"skopeo", "--insecure-policy", "copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false", from, to}
}

// transferOnce makes one copy, to a place that has nothing yet.
func (b *bench) transferOnce(ctx context.Context, dir string, tr transfer, old string, command func(from, to string, hosts ...string) []string) (cost, error) {
	out := filepath.Join(dir, "out")
	if err := errors.Join(os.RemoveAll(out), os.MkdirAll(out, 0o755)); err != nil {
		return cost{}, err
	}
	defer os.RemoveAll(out)
	hosts := []string{old}
	replace := []string{"DIR", dir, "OLD", old}
	if strings.Contains(tr.to, "NEW") {
		fresh, stop, err := startRegistry(ctx, filepath.Join(out, "new"))
		if err != nil {
			return cost{}, err
		}
		defer stop()
		hosts, replace = append(hosts, fresh), append(replace, "NEW", fresh)
	}
	r := strings.NewReplacer(replace...)
	args := command(r.Replace(tr.from), r.Replace(tr.to), hosts...)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stderr = os.Stderr
	syscall.Sync() // earlier writes are not this command's to wait for
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return cost{}, fmt.Errorf("run %q: %w", cmd.Args, err)
	}
	return cost{time.Since(start), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}, nil
}

// startRegistry starts docker-registry with its data in dir and waits until it
// answers.
func startRegistry(ctx context.Context, dir string) (host string, stop func(), err error) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	host = free.Addr().String()
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %q}}\nhttp: {addr: %q}\n", filepath.Join(dir, "data"), host)
	if err := errors.Join(free.Close(), os.MkdirAll(dir, 0o755), os.WriteFile(config, []byte(text), 0o600)); err != nil {
		return "", nil, err
	}
	cmd := exec.CommandContext(ctx, "docker-registry", "serve", config)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "OTEL_TRACES_EXPORTER=none"}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() { _, _ = cmd.Process.Kill(), cmd.Wait() }
	for range 500 {
		var resp *http.Response
		if resp, err = http.Get("http://" + host + "/v2/"); err == nil {
			resp.Body.Close()
			return host, stop, nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	stop()
	return "", nil, fmt.Errorf("docker-registry does not answer: %w", err)
}
