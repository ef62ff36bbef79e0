package tree

import (
	"archive/tar"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/layertest"
	"github.com/varve-image/varve/internal/testtools"
)

// reference makes the file system of a stack of layers, as a directory: each
// layer is unpacked on its own, in order and entry by entry, and laid over the
// directory by the rules of OCI image-spec (layer.md).
type reference struct {
	t      testing.TB
	merged string
	// The fields below are about one layer: where it is unpacked, which
	// directories of it no entry names, and its whiteouts.
	layer     string
	implied   map[string]bool
	whiteouts []string
}

var errRefused = errors.New("refused")

func (r *reference) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *reference) apply(headers []tar.Header) error {
	r.layer, r.implied, r.whiteouts = r.t.TempDir(), map[string]bool{".": true}, nil
	for _, h := range headers {
		if err := r.unpack(h); err != nil {
			return err
		}
	}
	for _, w := range r.whiteouts {
		dir, base := path.Split(w)
		if !r.isDir(path.Clean(dir)) {
			continue
		}
		if base != whiteoutOpaque {
			r.must(os.RemoveAll(filepath.Join(r.merged, dir, strings.TrimPrefix(base, WhiteoutPrefix))))
			continue
		}
		entries, err := os.ReadDir(filepath.Join(r.merged, dir))
		r.must(err)
		for _, e := range entries {
			r.must(os.RemoveAll(filepath.Join(r.merged, dir, e.Name())))
		}
	}
	r.lay(".")
	return nil
}

// isDir reports whether name is a directory below what is merged, without
// symlinks.
func (r *reference) isDir(name string) bool {
	at := r.merged
	for c := range strings.SplitSeq(name, "/") {
		at = filepath.Join(at, c)
		if st, err := os.Lstat(at); err != nil || !st.IsDir() {
			return false
		}
	}
	return true
}

// unpack puts one entry into the layer's directory.
func (r *reference) unpack(h tar.Header) error {
	dir, base := path.Split(h.Name)
	if strings.HasPrefix(base, WhiteoutPrefix) {
		r.whiteouts = append(r.whiteouts, h.Name)
		return nil
	}
	source := ""
	if h.Typeflag == tar.TypeLink && h.Linkname == h.Name {
		return errRefused
	}
	if h.Typeflag == tar.TypeLink { // its target is looked up first
		var err error
		if source, err = r.linkTarget(h.Linkname); err != nil {
			return err
		}
	}
	at, err := r.parent(path.Clean(dir))
	if err != nil {
		return err
	}
	at = filepath.Join(at, base)
	st, err := os.Lstat(at)
	if h.Typeflag == tar.TypeDir && err == nil && st.IsDir() {
		r.attributes(at, h)
		delete(r.implied, r.name(at))
		return nil
	}
	keep := source
	if keep != "" { // the target may be below what is replaced
		keep = filepath.Join(r.t.TempDir(), "link")
		r.copy(source, keep)
	}
	r.must(os.RemoveAll(at))
	switch h.Typeflag {
	case tar.TypeReg:
		r.must(os.WriteFile(at, []byte(h.Uname), 0o600))
	case tar.TypeDir:
		r.must(os.Mkdir(at, 0o700))
		delete(r.implied, r.name(at))
	case tar.TypeSymlink:
		r.must(os.Symlink(h.Linkname, at))
	case tar.TypeFifo:
		r.must(unix.Mkfifo(at, 0o600))
	case tar.TypeLink:
		r.copy(keep, at)
		return nil
	}
	r.attributes(at, h)
	return nil
}

func (r *reference) name(at string) string {
	rel, err := filepath.Rel(r.layer, at)
	r.must(err)
	return rel
}

func (r *reference) attributes(at string, h tar.Header) {
	r.must(os.Lchown(at, h.Uid, h.Gid))
	if h.Typeflag != tar.TypeSymlink {
		r.must(unix.Chmod(at, uint32(h.Mode)))
	}
	when := unix.NsecToTimespec(h.ModTime.UnixNano())
	r.must(unix.UtimesNanoAt(unix.AT_FDCWD, at, []unix.Timespec{when, when}, unix.AT_SYMLINK_NOFOLLOW))
}

// linkTarget returns the file that a hard link leads to: in the layer, or else
// in those below.
func (r *reference) linkTarget(name string) (string, error) {
	for _, root := range []string{r.layer, r.merged} {
		at := root
		missing := false
		for c := range strings.SplitSeq(name, "/") {
			if st, err := os.Lstat(at); err != nil || !st.IsDir() {
				if missing = errors.Is(err, fs.ErrNotExist); !missing {
					return "", errRefused // through something else
				}
				break
			}
			at = filepath.Join(at, c)
		}
		st, err := os.Lstat(at)
		if err == nil && st.IsDir() {
			return "", errRefused
		}
		if err == nil {
			return at, nil
		}
	}
	return "", errRefused
}

// parent returns the directory for an entry, through the layer's own symlinks,
// and makes missing directories.
func (r *reference) parent(name string) (string, error) {
	pending := strings.Split(name, "/")
	var way []string
	for links := 0; len(pending) > 0; {
		c := pending[0]
		pending = pending[1:]
		at := filepath.Join(append([]string{r.layer}, way...)...)
		if st, err := os.Lstat(at); err == nil && !st.IsDir() {
			return "", errRefused
		}
		switch c {
		case "", ".":
			continue
		case "..":
			way = way[:max(0, len(way)-1)]
			continue
		}
		target, err := os.Readlink(filepath.Join(at, c))
		if err != nil {
			way = append(way, c)
			continue
		}
		if links++; links > maxLinks {
			return "", errRefused
		}
		if strings.HasPrefix(target, "/") {
			way = nil
		}
		pending = append(strings.Split(target, "/"), pending...)
	}
	at := r.layer
	for _, c := range way {
		at = filepath.Join(at, c)
		st, err := os.Lstat(at)
		if err == nil && !st.IsDir() {
			return "", errRefused
		}
		if err != nil {
			r.must(os.Mkdir(at, 0o755))
			r.implied[r.name(at)] = true
		}
	}
	return at, nil
}

// lay lays the layer's directory over what is merged.
func (r *reference) lay(name string) {
	from, to := filepath.Join(r.layer, name), filepath.Join(r.merged, name)
	below, err := os.Lstat(to)
	isDir := err == nil && below.IsDir()
	if !isDir {
		r.must(os.RemoveAll(to))
		r.must(os.Mkdir(to, 0o755))
	}
	if !isDir || !r.implied[name] {
		r.copyAttributes(from, to)
	}
	entries, err := os.ReadDir(from)
	r.must(err)
	for _, e := range entries {
		child := filepath.Join(name, e.Name())
		if e.IsDir() {
			r.lay(child)
			continue
		}
		r.must(os.RemoveAll(filepath.Join(r.merged, child)))
		r.copy(filepath.Join(r.layer, child), filepath.Join(r.merged, child))
	}
}

// copy copies what is not a directory.
func (r *reference) copy(from, to string) {
	st, err := os.Lstat(from)
	r.must(err)
	switch st.Mode().Type() {
	case fs.ModeSymlink:
		target, err := os.Readlink(from)
		r.must(err)
		r.must(os.Symlink(target, to))
	case fs.ModeNamedPipe:
		r.must(unix.Mkfifo(to, 0o600))
	default:
		data, err := os.ReadFile(from)
		r.must(err)
		r.must(os.WriteFile(to, data, 0o600))
	}
	r.copyAttributes(from, to)
}

func (r *reference) copyAttributes(from, to string) {
	var st unix.Stat_t
	r.must(unix.Lstat(from, &st))
	r.must(os.Lchown(to, int(st.Uid), int(st.Gid)))
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		r.must(unix.Chmod(to, st.Mode&0o7777))
	}
	r.must(unix.UtimesNanoAt(unix.AT_FDCWD, to, []unix.Timespec{st.Mtim, st.Mtim}, unix.AT_SYMLINK_NOFOLLOW))
}

// randomLayers makes layers with many entries for few names. Tame ones have
// nothing below symlinks, and no two entries with the same name in a layer.
func randomLayers(seed uint64, tame bool) [][]tar.Header {
	r := rand.New(rand.NewPCG(seed, 1))
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	// Most names show whether they are directories, so that most layers are
	// accepted.
	component := func(isDir bool) string {
		if isDir != (r.IntN(12) == 0) {
			return pick("a", "b", "c")
		}
		return pick("x", "y", "z")
	}
	name := func(isDir bool) string {
		parts := []string{component(isDir)}
		for range r.IntN(3) {
			parts = append([]string{component(true)}, parts...)
		}
		return strings.Join(parts, "/")
	}
	var files []string // that were named so far
	layers := make([][]tar.Header, 2+r.IntN(3))
	for i := range layers {
		seen := map[string]bool{}
		for range 1 + r.IntN(12) {
			h := tar.Header{Name: name(false), Mode: int64(r.IntN(0o10000)), Uid: r.IntN(3), Gid: r.IntN(3), ModTime: time.Unix(int64(1+r.IntN(1000)), 0)}
			switch n := r.IntN(20); {
			case n < 7:
				h.Typeflag, h.Uname = tar.TypeReg, fmt.Sprintf("%d-%d", i, r.IntN(1000))
			case n < 10:
				h.Typeflag, h.Name = tar.TypeDir, name(true)
				h.Mode &^= 0o2000 // new files below would inherit it from the kernel
			case n < 12 && !tame:
				h.Typeflag, h.Name, h.Linkname = tar.TypeSymlink, name(true), pick("a", "../b", "/c", "/a/./b/..", ".", "c/../../c", "missing", "../../..")
			case n < 13:
				h.Typeflag, h.Name, h.Linkname = tar.TypeSymlink, h.Name+"l", pick("a", "/b", "../c")
			case n < 15 && len(files) > 0:
				h.Typeflag, h.Linkname = tar.TypeLink, pick(files...)
			case n < 16:
				h.Typeflag = tar.TypeFifo
			case n < 19:
				h.Name = name(r.IntN(3) == 0)
				h.Typeflag, h.Name = tar.TypeReg, path.Join(path.Dir(h.Name), WhiteoutPrefix+path.Base(h.Name))
			default:
				h.Typeflag, h.Name = tar.TypeReg, path.Join(name(true), whiteoutOpaque)
			}
			if h.Typeflag == tar.TypeReg && h.Uname != "" {
				files = append(files, h.Name)
			}
			if tame && seen[h.Name] {
				continue
			}
			seen[h.Name] = true
			layers[i] = append(layers[i], h)
		}
	}
	return layers
}

func describe(layers [][]tar.Header) string {
	var b strings.Builder
	for i, l := range layers {
		for _, h := range l {
			fmt.Fprintf(&b, "layer %d: %c %s -> %q %q\n", i, h.Typeflag, h.Name, h.Linkname, h.Uname)
		}
	}
	return b.String()
}

// TestOverlayProperty: random layers show what the reference makes of them, and
// are refused where it finds no place for an entry.
func TestOverlayProperty(t *testing.T) {
	testtools.NeedRoot(t)
	old := unix.Umask(0)
	defer unix.Umask(old)
	const trials = 400
	taken := 0
	for seed := range uint64(trials) {
		layers := randomLayers(seed, false)
		o, err := OpenOverlay(t.Context(), memLayers(tars(t, layers)...), OverlayOptions{})
		if err != nil && strings.Contains(err.Error(), WhiteoutPrefix) || err != nil && strings.Contains(err.Error(), "whiteouts below") {
			continue // refused, while unpacking could only ignore it
		}
		r := &reference{t: t, merged: t.TempDir()}
		r.must(os.Chmod(r.merged, 0o755))
		var refErr error
		for _, l := range layers {
			if refErr = r.apply(l); refErr != nil {
				break
			}
		}
		if (err != nil) != (refErr != nil) {
			t.Fatalf("seed %d: error %v, and of the reference %v\n%s", seed, err, refErr, describe(layers))
		}
		if err != nil {
			continue
		}
		taken++
		if got, want := full(t, o.Entries), full(t, unpacked(t, r.merged)); got != want {
			t.Fatalf("seed %d: got:\n%swant:\n%sof\n%s", seed, got, want, describe(layers))
		}
	}
	if taken < trials/5 {
		t.Errorf("only %d of %d stacks of layers were taken", taken, trials)
	}
}

func tars(t testing.TB, layers [][]tar.Header) [][]byte {
	var all [][]byte
	for _, l := range layers {
		all = append(all, makeTar(t, l...))
	}
	return all
}

// TestOverlayUmociRandom compares tame random layers with what umoci unpacks.
func TestOverlayUmociRandom(t *testing.T) {
	umoci := testtools.Need(t, "umoci")
	testtools.NeedRoot(t)
	compared := 0
	for seed := uint64(0); compared < 25 && seed < 500; seed++ {
		layers := randomLayers(seed, true)
		o, err := OpenOverlay(t.Context(), memLayers(tars(t, layers)...), OverlayOptions{})
		if err != nil {
			continue
		}
		temp := t.TempDir()
		layout, root := filepath.Join(temp, "layout"), filepath.Join(temp, "root")
		if err := layertest.Layout(layout, "x", tars(t, layers)...); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(umoci, "raw", "unpack", "--image", layout+":x", root).CombinedOutput(); err != nil {
			t.Logf("seed %d: umoci: %v\n%s", seed, err, out)
			continue
		}
		compared++
		if got, want := full(t, o.Entries), full(t, unpacked(t, root)); got != want {
			t.Errorf("seed %d: got:\n%sumoci:\n%sof\n%s", seed, got, want, describe(layers))
		}
	}
	if compared < 25 {
		t.Errorf("only %d were compared", compared)
	}
}
