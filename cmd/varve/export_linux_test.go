package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/enginetest"
	"github.com/varve-image/varve/internal/layertest"
	"github.com/varve-image/varve/internal/testtools"
)

// TestExportOmits: an ordinary user gets a directory with everything that the user
// may set, and a report about the rest; nothing in it gives away the user's
// privileges.
func TestExportOmits(t *testing.T) {
	needRoot(t)
	dir := openDir(t, "")
	must(t, os.Chmod(dir, 0o777))
	must(t, writeTar(filepath.Join(dir, "tree.tar"), func(w *tar.Writer) error {
		for _, h := range []*tar.Header{
			{Name: "bin/", Typeflag: tar.TypeDir, Mode: 0o555},
			{Name: "bin/su", Typeflag: tar.TypeReg, Mode: 0o6755},
			{Name: "bin/ping", Typeflag: tar.TypeReg, Mode: 0o755, PAXRecords: map[string]string{
				"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"}},
			{Name: "dev/", Typeflag: tar.TypeDir, Mode: 0o700},
			{Name: "dev/null", Typeflag: tar.TypeChar, Mode: 0o666, Devmajor: 1, Devminor: 3},
			{Name: "dev/pipe", Typeflag: tar.TypeFifo, Mode: 0o622},
			{Name: "closed/", Typeflag: tar.TypeDir, Mode: 0},
			{Name: "closed/file", Typeflag: tar.TypeReg, Mode: 0o200},
		} {
			if err := w.WriteHeader(h); err != nil {
				return err
			}
		}
		return nil
	}))
	mustRun(t, dir, "build", "--name", "omits", "--tag", "1", "--copy", "tree.tar", "-q", "-o", "image.tar")
	cmd := varve(t, dir, "export", "image.tar", "-o", "root/")
	asNobody(cmd)
	inShell("umask 0277")(cmd)
	o := run(t, cmd)
	if o.code != 0 {
		t.Fatalf("exit code %d: %s", o.code, o.stderr)
	}
	mustFind(t, o.stderr, "warning", `the owners of 8 files, such as 0:0 of "."`, `bits of 1 file,`, `such as "bin/su"`,
		`extended attributes of 1 file, such as "bin/ping"`, `1 device, such as "dev/null"`, "-o FILE.tar")
	for name, want := range map[string]uint32{
		".": unix.S_IFDIR | 0o755, "bin": unix.S_IFDIR | 0o555, "bin/su": unix.S_IFREG | 0o755, "dev/pipe": unix.S_IFIFO | 0o622,
		"closed": unix.S_IFDIR, "closed/file": unix.S_IFREG | 0o200, "dev/null": 0,
	} {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(dir, "root", name), &st); err != nil && want != 0 {
			t.Error(err)
		}
		if st.Mode != want || want != 0 && (st.Uid != nobody || st.Gid != nobody || st.Mtim.Sec != 1) {
			t.Errorf("%s has mode %o, owner %d:%d and time %d, want mode %o", name, st.Mode, st.Uid, st.Gid, st.Mtim.Sec, want)
		}
	}
}

// TestExport: the file system that export writes is the one that a container of the
// image has: names, types, modes, owners, targets, contents.
func TestExport(t *testing.T) {
	testtools.NeedRoot(t)
	docker := engines.Get(t, "docker")
	paths := engineImage(t)
	dir := filepath.Dir(paths["tar"])
	put(t, filepath.Join(dir, "more/bin/hello"), "hello\n", 0o755)
	put(t, filepath.Join(dir, "more/etc/motd/x"), "a directory in the place of a file\n", 0o644)
	mustRun(t, dir, "build", "--name", "varve-export", "--tag", "one", "--from", paths["tar"], "--copy", "more", "--conflicts", "last", "-q", "-o", "child.tar")
	mustRun(t, dir, "export", "child.tar", "-o", "root.tar")
	image, err := docker.Load(t.Context(), filepath.Join(dir, "child.tar"))
	must(t, err)
	defer docker.Remove(t.Context(), image)
	theirs := containerTar(t, docker, image)
	ours, err := os.ReadFile(filepath.Join(dir, "root.tar"))
	must(t, err)
	b := sameAsContainer(t, ours, theirs)
	// What Docker exports can be copied into an image, or be the base of one.
	put(t, filepath.Join(dir, "docker.tar"), string(theirs), 0o644)
	mustRun(t, dir, "build", "--name", "again", "--copy", "docker.tar", "-q", "-o", "again.tar")
	saved, err := docker.Command(t.Context(), "save", image).Output()
	must(t, err)
	put(t, filepath.Join(dir, "saved.tar"), string(saved), 0o644)
	mustRun(t, dir, "build", "--name", "on-saved", "--from", "saved.tar", "--copy", "more", "--conflicts", "last", "-q", "-o", "on-saved.tar")
	if len(b) < 10 {
		t.Errorf("a container has %d files", len(b))
	}
}

// containerTar returns the output of docker export for a new container of an image.
func containerTar(t *testing.T, docker enginetest.Engine, image string) []byte {
	t.Helper()
	container, err := docker.Command(t.Context(), "create", image).Output()
	must(t, err)
	id := strings.TrimSpace(string(container))
	defer docker.Command(t.Context(), "rm", id).Run()
	data, err := docker.Command(t.Context(), "export", id).Output()
	must(t, err)
	return data
}

// dockerMakes lists what Docker puts into a container that the image may lack.
var dockerMakes = []string{".dockerenv", "dev", "dev/console", "dev/pts", "dev/shm", "etc/hostname", "etc/hosts", "etc/mtab", "etc/resolv.conf", "proc", "sys"}

// sameAsContainer compares a tree with a container's, which it returns.
func sameAsContainer(t *testing.T, ours, theirs []byte) map[string]string {
	t.Helper()
	a, b := treeOf(t, ours, dockerKeeps), treeOf(t, theirs, dockerKeeps)
	for _, name := range dockerMakes {
		if _, ok := a[name]; !ok {
			delete(b, name)
		}
	}
	sameTrees(t, a, b, "a container")
	return b
}

func sameTrees(t *testing.T, ours, theirs map[string]string, what string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(theirs)) {
		if ours[name] != theirs[name] {
			t.Errorf("%q is %q, in %s %q", name, ours[name], what, theirs[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(ours)) {
		if _, ok := theirs[name]; !ok {
			t.Errorf("%q is not in %s", name, what)
		}
	}
}

// dockerKeeps and allXattrs choose attributes: docker export writes this one
// alone.
func dockerKeeps(name string) bool { return name == "security.capability" }
func allXattrs(string) bool        { return true }

// treeOf describes each entry of a tar except the root; hard links as their targets.
func treeOf(t *testing.T, data []byte, xattr func(string) bool) map[string]string {
	t.Helper()
	all := map[string]string{}
	must(t, eachEntry(data, func(h *tar.Header, content []byte) {
		name := path.Clean("/" + h.Name)[1:]
		if h.Typeflag == tar.TypeLink {
			all[name] = all[path.Clean("/" + h.Linkname)[1:]]
			return
		}
		mode := h.Mode & 0o7777 // Docker adds the type
		if h.Typeflag == tar.TypeSymlink {
			mode = 0o777
		}
		if name == "" {
			return
		}
		line := fmt.Sprintf("%c %04o %d:%d %d,%d %q %x", h.Typeflag, mode, h.Uid, h.Gid, h.Devmajor, h.Devminor, h.Linkname, sha256.Sum256(bytes.Clone(content)))
		if h.Typeflag == tar.TypeReg {
			line += fmt.Sprintf(" @%d", h.ModTime.Unix())
		}
		for _, key := range slices.Sorted(maps.Keys(h.PAXRecords)) {
			if attr, ok := strings.CutPrefix(key, "SCHILY.xattr."); ok && xattr(attr) {
				line += fmt.Sprintf(" %s=%x", attr, h.PAXRecords[key])
			}
		}
		all[name] = line
	}))
	return all
}

// tarOfDir packs a directory with GNU tar, which keeps everything that a tar can express.
func tarOfDir(t *testing.T, dir string) []byte {
	t.Helper()
	data, err := exec.Command(testtools.Need(t, "tar"), "-c", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-C", dir, ".").Output()
	must(t, err)
	return data
}

// TestExportDifficult: for layers with everything that layers can express, a
// container, umoci and both forms of export show the same.
func TestExportDifficult(t *testing.T) {
	needRoot(t)
	dir := openDir(t, "")
	layers, err := layertest.Difficult()
	must(t, err, layertest.Layout(filepath.Join(dir, "layout"), "x", layers...))
	mustRun(t, dir, "export", "oci:layout:x", "-o", "root.tar")
	ours, err := os.ReadFile(filepath.Join(dir, "root.tar"))
	must(t, err)
	whole := treeOf(t, ours, allXattrs)
	if len(whole) < 45 {
		t.Fatalf("there are %d files", len(whole))
	}
	t.Run("directory", func(t *testing.T) {
		cmd := varve(t, dir, "export", "oci:layout:x", "-o", "root/")
		inShell("umask 077")(cmd)
		if o := run(t, cmd); o.code != 0 || o.stderr != "" {
			t.Fatalf("exit code %d: %s", o.code, o.stderr)
		}
		sameTrees(t, whole, treeOf(t, tarOfDir(t, filepath.Join(dir, "root")), allXattrs), "the directory")
	})
	t.Run("umoci", func(t *testing.T) {
		bundle := filepath.Join(dir, "bundle")
		if r := enginetest.Umoci(t, "unpack", "--image", filepath.Join(dir, "layout")+":x", bundle); r.ExitCode != 0 {
			t.Fatalf("umoci: %s", r.Stderr)
		}
		sameTrees(t, whole, treeOf(t, tarOfDir(t, filepath.Join(bundle, "rootfs")), allXattrs), "umoci's")
	})
	t.Run("docker", func(t *testing.T) {
		docker := engines.Docker(t)
		mustRun(t, dir, "copy", "-q", "oci:layout:x", "docker-archive:image.tar:varve-difficult:x")
		image, err := docker.Load(t.Context(), filepath.Join(dir, "image.tar"))
		must(t, err)
		defer docker.Remove(t.Context(), image)
		sameAsContainer(t, ours, containerTar(t, docker, image))
	})
}

// TestExportHostile: whatever a layer contains, a directory is written inside itself.
func TestExportHostile(t *testing.T) {
	dir := openDir(t, "")
	canary := filepath.Join(dir, "canary")
	put(t, filepath.Join(canary, "file"), "untouched", 0o644)
	before := fingerprint(t, canary, true)
	lower, err := layertest.Tar(layertest.Link("up", "../canary"), layertest.Link("abs", canary), layertest.Link("chain", "up/."),
		layertest.Link("turns", "../canary/file"), layertest.Dir("d", 0o755, 0), layertest.Link("d/out", "../../canary/file"))
	must(t, err)
	upper, err := layertest.Tar(layertest.Link("own", "../canary"), layertest.File("own/x", "x"), layertest.File("own/../../canary/file", "x"))
	must(t, err)
	inside, err := layertest.Tar(layertest.Link("own", "../../canary"), layertest.File("own/x", "x"), layertest.Link("own2", canary), layertest.File("own2/y", "y"),
		layertest.File("up/x", "x"), layertest.File("turns", "x"), layertest.File("d/out", "x"), layertest.Whiteout(".wh.abs"))
	must(t, err,
		layertest.Layout(filepath.Join(dir, "bad"), "x", lower, upper),
		layertest.Layout(filepath.Join(dir, "good"), "x", lower, inside))
	o := run(t, varve(t, dir, "export", "oci:bad", "-o", "out/"))
	if o.code != 1 {
		t.Errorf("exit code %d, want 1", o.code)
	}
	mustFind(t, o.stderr, `"own/../../canary/file"`)
	mustRun(t, dir, "export", "oci:good", "-o", "root/")
	for name, want := range map[string]string{"canary/x": "x", strings.TrimPrefix(canary, "/") + "/y": "y", "up/x": "x", "turns": "x", "d/out": "x"} {
		if got, err := os.ReadFile(filepath.Join(dir, "root", name)); err != nil || string(got) != want {
			t.Errorf("%s holds %q, %v", name, got, err)
		}
	}
	if left := names(dir); !slices.Equal(left, []string{"bad", "canary", "good", "root"}) {
		t.Errorf("left: %q", left)
	}
	if after := fingerprint(t, canary, true); after != before {
		t.Errorf("the canary is\n%s\nand was\n%s", after, before)
	}
}

// TestExportKilled: a killed export leaves no part of the directory under its name,
// and the next one removes the rest.
func TestExportKilled(t *testing.T) {
	strace := testtools.Need(t, "strace")
	k := killing{dir: openDir(t, "")}
	makeDirs(t, filepath.Join(k.dir, "tmp"))
	layers, err := layertest.Difficult()
	must(t, err, layertest.Layout(filepath.Join(k.dir, "layout"), "x", layers...))
	args := []string{"export", "-q", "oci:layout:x", "-o", "out/"}
	for _, call := range []string{"mkdirat", "fchown", "utimensat", "syncfs", "renameat", "fsync"} {
		for n := 1; n <= 5; n += 2 {
			_, happened := k.injected(t, strace, args, call, "signal=SIGKILL", n)
			if !happened && n == 1 {
				t.Errorf("there is no %s", call)
			}
			if left := names(k.dir); happened && call != "fsync" && slices.Contains(left, "out") {
				t.Errorf("killed at %s %d: there is %q", call, n, left)
			}
			must(t, os.RemoveAll(filepath.Join(k.dir, "out")))
		}
	}
	mustRun(t, k.dir, args...)
	if left := names(k.dir); !slices.Equal(left, []string{"layout", "out", "strace.log", "tmp"}) {
		t.Errorf("left: %q", left)
	}
}

// TestExportFull: a directory that does not fit is an error that names it, and
// nothing of it stays to fill the disk.
func TestExportFull(t *testing.T) {
	dir := faultTree(t, 3<<20)
	mustRun(t, dir, "build", "image.yaml", "-q", "-o", "image.tar")
	for name, options := range map[string]string{"bytes": "size=1m", "inodes": "size=8m,nr_inodes=2"} {
		full := filepath.Join(dir, "full-"+name)
		mount(t, full, options)
		for _, args := range [][]string{{"export", "image.tar"}, {"tree", "merge", "image"}} {
			if args[0] == "tree" {
				must(t, os.RemoveAll(filepath.Join(dir, "image")))
				mustRun(t, dir, "export", "image.tar", "-o", "image/")
			}
			o := run(t, varve(t, dir, append(args, "-o", full+"/root/")...))
			if o.code != 1 || o.took > deadline {
				t.Errorf("%s: %q: exit code %d after %v, want 1", name, args, o.code, o.took)
			}
			mustFind(t, o.stderr, full+"/root/", "no space left on device")
			if left := names(full); len(left) > 0 {
				t.Errorf("%s: %q: left: %q", name, args, left)
			}
		}
	}
}
