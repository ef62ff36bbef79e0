package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/varve-image/varve/internal/hostile"
)

// bomb is an input that unpacks to far more than its own size.
type bomb struct {
	name string
	data []byte
	// layer says that the data is a layer, in a layout called in; otherwise it is
	// the file called in.
	layer bool
	// commands are the commands to run, each with args.
	commands [][]string
	args     []string
	message  []string
	// memory is the memory limit of those that may use more than others.
	memory int64
}

var (
	asBase    = []string{"build", "--name", "x", "--from", "in", "--copy", "file", "-q", "-o", "out/a.tar"}
	asExport  = []string{"export", "in", "-o", "out/tree/"}
	asTar     = []string{"export", "in", "-o", "out/a.tar"}
	asArchive = []string{"copy", "-q", "in", "docker-archive:out/a.tar.gz:x:1"}
	asInspect = []string{"inspect", "in"}
	asCopy    = []string{"build", "--name", "x", "--copy", "in.tar.gz", "-q", "-o", "out/a.tar"}
	asTree    = []string{"tree", "merge", "in.tar.gz", "-o", "out/a.tar"}
)

// TestBombs: an input that unpacks to far more than is allowed is refused when it
// reaches the limit, and not when everything is unpacked.
func TestBombs(t *testing.T) {
	limited := []string{"--max-unpacked", "100MiB"}
	const tenGiB = 10 << 10
	for _, b := range []bomb{
		{name: "10 MB that unpack to 10 GB", data: hostile.GzipZeros(tenGiB), commands: [][]string{asInspect, asBase, asTree, asCopy}, args: limited, message: []string{"more than 104857600 bytes"}},
		{name: "layer of 10 MB that unpacks to 10 GB", layer: true, data: hostile.GzipZeros(tenGiB), commands: [][]string{asExport, asBase, asTar, asArchive}, args: limited, message: []string{"more than 104857600 bytes"}},
		{name: "layer of zstd that unpacks to 10 GB", layer: true, data: hostile.ZstdZeros(tenGiB), commands: [][]string{asExport, asBase, asArchive}, args: limited, message: []string{"more than 104857600 bytes"}},
		{name: "layer of zstd with a window of 2 GiB", layer: true, data: hostile.Window2GiB(), commands: [][]string{asExport, asBase, asArchive}, message: []string{"zstd", "window"}},
		{name: "10 million entries, and few are allowed", layer: true, data: hostile.GzipEntries(10_000_000, false), commands: [][]string{asTar, asBase}, args: []string{"--max-entries", "1000"}, message: []string{"more than 1000 entries"}},
		{name: "sparse file of 1 PiB", layer: true, data: hostile.SparseFiles(1, 1<<30), commands: [][]string{asExport, asBase}, message: []string{"sparse files expand to more than"}},
		{name: "sparse files of 1 TiB together", layer: true, data: hostile.SparseFiles(1<<10, 1<<10), commands: [][]string{asTar, asBase}, args: []string{"--max-unpacked", "2GiB"}, message: []string{"more than 2147483648 bytes"}},
		{name: "sparse file to copy of 1 PiB", data: hostile.SparseFiles(1, 1<<30), commands: [][]string{asTree, asCopy}, message: []string{"sparse files expand to more than"}},
	} {
		t.Run(b.name, b.run)
	}
}

// TestBombsWhole is TestBombs with high limits, or the default ones.
func TestBombsWhole(t *testing.T) {
	if !sweep {
		t.Skip("VARVE_SWEEP is not set: see make sweep")
	}
	for _, b := range []bomb{
		{name: "layer that unpacks to 10 GB", layer: true, data: hostile.GzipZeros(10 << 10), commands: [][]string{asBase, asInspect}, args: []string{"--max-unpacked", "4GiB"}, message: []string{"more than 4294967296 bytes"}},
		{name: "layer of zstd that unpacks to 10 GB", layer: true, data: hostile.ZstdZeros(10 << 10), commands: [][]string{asExport}, args: []string{"--max-unpacked", "4GiB"}, message: []string{"more than 4294967296 bytes"}},
		{name: "10 million entries, of a thousand names", layer: true, data: hostile.GzipEntries(10_000_000, false), commands: [][]string{asExport}, message: []string{"more than 2000000 entries"}},
		{name: "10 million entries, each of another name", layer: true, data: hostile.GzipEntries(10_000_000, true), commands: [][]string{asBase}, message: []string{"more than 2000000 entries"}, memory: 2 << 30},
	} {
		t.Run(b.name, b.run)
	}
}

func (b bomb) run(t *testing.T) {
	dir := openDir(t, "")
	put(t, filepath.Join(dir, "file"), "added", 0o644)
	if b.layer {
		writeEntries(t, filepath.Join(dir, "in"), hostile.OCILayout(b.data))
	} else {
		put(t, filepath.Join(dir, "in"), string(b.data), 0o644)
		must(t, os.Link(filepath.Join(dir, "in"), filepath.Join(dir, "in.tar.gz")))
	}
	for _, args := range b.commands {
		for _, name := range []string{"tmp", "out"} {
			makeDirs(t, filepath.Join(dir, name))
		}
		cmd := limitedFiles(varve(t, dir, append(args, b.args...)...))
		cmd.Env = append(cmd.Env, "TMPDIR="+filepath.Join(dir, "tmp"))
		o := run(t, cmd)
		t.Logf("varve %q: %v, %d MiB", args, o.cpu, o.peak>>20)
		want := badInput{code: 1, message: b.message, slow: sweep, memory: b.memory}
		want.check(t, o)
		for _, place := range []string{"tmp", "out"} {
			if left := names(filepath.Join(dir, place)); len(left) > 0 {
				t.Errorf("varve %q: left in %s: %q", args, place, left)
			}
		}
		if t.Failed() {
			return
		}
	}
}

// limitedFiles makes a command fail that writes a file of more than 512 MiB.
func limitedFiles(cmd *exec.Cmd) *exec.Cmd {
	limited := exec.Command("sh", append([]string{"-c", `ulimit -f 1048576; exec "$@"`, "sh"}, cmd.Args...)...)
	limited.Dir, limited.Env = cmd.Dir, cmd.Env
	limited.Stdin = bytes.NewReader(nil)
	return limited
}
