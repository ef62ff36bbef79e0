package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/varve-image/varve/internal/hostile"
)

// TestHostileImages: bad images, and images of bad layers, are refused by the
// commands that read them, as in TestHostile; those that are only odd are accepted,
// and nothing lands outside of what is written.
func TestHostileImages(t *testing.T) {
	cases := hostileImages()
	forgetPeak()
	for i, h := range cases {
		h.number = i
		t.Run(h.name, h.run)
	}
}

// forgetPeak frees memory and makes the kernel forget how much there was: it counts
// for child processes as if it were theirs (proc(5), clear_refs).
func forgetPeak() {
	debug.FreeOSMemory()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // only Linux has it
}

func hostileImages() []hostileImage {
	file := func(data []byte) func(*testing.T, string) {
		return func(t *testing.T, dir string) { put(t, filepath.Join(dir, "bad.tar"), string(data), 0o644) }
	}
	var all []hostileImage
	for _, c := range hostile.ArchiveCases() {
		all = append(all, hostileImage{name: "archive, " + c.Name, prepare: file(c.Data), refused: c.Refused, mismatch: c.Mismatch})
	}
	for _, c := range hostile.HybridCases() {
		all = append(all, hostileImage{name: "hybrid, " + c.Name, prepare: file(c.Data), refused: c.Refused, mismatch: c.Mismatch, layersOnly: c.Mismatch})
	}
	for _, c := range hostile.LayoutCases() {
		h := hostileImage{
			name: "layout, " + c.Name, file: "bad", refused: c.Refused, mismatch: c.Mismatch, layersOnly: c.UnpackedOnly,
			prepare: func(t *testing.T, dir string) { writeEntries(t, filepath.Join(dir, "bad"), c.Files) },
		}
		all = append(all, h)
		if !c.DirOnly {
			h.name, h.file = "layout archive, "+c.Name, ""
			h.prepare = func(t *testing.T, dir string) { file(hostile.Tar(c.Files...))(t, dir) }
			all = append(all, h)
		}
	}
	for _, c := range hostile.LayerCases() {
		archive := hostile.Tar(hostile.DockerArchive(c.Tars...)...)
		all = append(all, hostileImage{name: "layer, " + c.Name, prepare: file(archive), refused: c.Refused, layersOnly: true})
	}
	return all
}

// hostileImage is an image, whole or not, in bad.tar or the directory that file
// names.
type hostileImage struct {
	name     string
	number   int
	prepare  func(t *testing.T, dir string)
	file     string
	refused  []string
	mismatch bool
	// layersOnly says that only commands that read layers notice the fault.
	layersOnly bool
}

// commands returns two of the ways in which the image is read, with - for standard
// input, and written below out: one that builds on it, and each of the others for
// some of the images.
func (h hostileImage) commands() [][]string {
	file := h.file
	if file == "" {
		file = "bad.tar"
	}
	others := [][]string{{"export", file, "-o", "out/tree/"}, {"export", file, "-o", "out/tree.tar"}}
	if !h.layersOnly {
		others = append(others, []string{"copy", "-q", file, "oci-archive:out/b.oci"}, []string{"merge", "-q", file, "-o", "out/c.tar.gz"},
			[]string{"inspect", file}, []string{"copy", file, "oci:out/layout:1"})
	}
	other := others[h.number%len(others)]
	if h.file == "" && !h.layersOnly && h.number%2 == 0 {
		other = []string{"copy", "-q", "-", "oci:out/layout:1"}
	}
	return [][]string{{"build", "--name", "x", "--from", file, "--copy", "file", "-q", "-o", "out/a.tar"}, other}
}

func (h hostileImage) run(t *testing.T) {
	t.Parallel()
	dir := openDir(t, "")
	for _, name := range []string{"tmp", "out", "canary"} {
		makeDirs(t, filepath.Join(dir, name))
	}
	canary := filepath.Join(dir, "canary")
	put(t, filepath.Join(canary, "file"), "untouched", 0o644)
	put(t, filepath.Join(canary, "etc/passwd"), "root", 0o600)
	put(t, filepath.Join(dir, "file"), "added", 0o644)
	h.prepare(t, dir)
	before := fingerprint(t, canary, true)
	for _, args := range h.commands() {
		cmd := varve(t, dir, args...)
		cmd.Env = append(cmd.Env, "TMPDIR="+filepath.Join(dir, "tmp"))
		if stdin(args) {
			data, err := os.ReadFile(filepath.Join(dir, "bad.tar"))
			must(t, err)
			cmd.Stdin = bytes.NewReader(data)
		}
		o := run(t, cmd)
		h.check(t, dir, args, o)
		if t.Failed() {
			t.Logf("varve %q: exit code %d after %v, %d MiB: %.2000s", args, o.code, o.took, o.peak>>20, o.stderr)
			return
		}
	}
	if after := fingerprint(t, canary, true); after != before {
		t.Errorf("the canary is\n%s\nand was\n%s", after, before)
	}
}

// stdin reports whether a command reads the image from standard input.
func stdin(args []string) bool { return slices.Contains(args, "-") }

func (h hostileImage) check(t *testing.T, dir string, args []string, o outcome) {
	t.Helper()
	if left := names(filepath.Join(dir, "tmp")); len(left) > 0 {
		t.Errorf("left in TMPDIR: %q", left)
	}
	if h.refused == nil {
		if o.code != 0 || strings.Contains(o.stderr, "varve: ") {
			t.Errorf("exit code %d", o.code)
		}
		must(t, os.RemoveAll(filepath.Join(dir, "out")))
		makeDirs(t, filepath.Join(dir, "out"))
		return
	}
	want := badInput{code: 1, message: h.refused}
	if h.mismatch {
		want.code = 4
	}
	if stdin(args) { // standard input has no name
		want.message = append([]string{"standard input"}, want.message...)
	}
	want.check(t, o)
	if left := names(filepath.Join(dir, "out")); len(left) > 0 {
		t.Errorf("left in out: %q", left)
	}
}

// writeEntries makes files, symlinks, directories and FIFOs.
func writeEntries(t *testing.T, dir string, entries []hostile.Entry) {
	t.Helper()
	for _, e := range entries {
		path := filepath.Join(dir, e.Name)
		makeDirs(t, filepath.Dir(path))
		switch e.Type {
		case '2':
			must(t, os.Symlink(e.Link, path))
		case '5':
			makeDirs(t, path)
		case '6':
			must(t, syscall.Mkfifo(path, 0o644))
		case 0, '0':
			put(t, path, e.Content, 0o644)
		default:
			t.Fatal(errors.ErrUnsupported)
		}
	}
}
