package ocilayout_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/place/ocilayout"
	"github.com/varve-image/varve/layer"
)

var errDisk = errors.New("the disk is broken")

// brokenImages are images whose writing fails, with the text that the error
// has to have.
func brokenImages(ctx context.Context, cancel func()) map[string]struct {
	img  image.Named
	want string
} {
	good := bigLayer("good", 1<<20)
	part := tarPart(ctx, good)
	broken := func(l wrapped) image.Named { return newImage("new", good, l, newLayer(file("last", "x"))) }
	bad := bigLayer("bad", 2<<20)
	badName := newImage("new")
	badName.RepoTags = []string{"UPPER case:new"}
	return map[string]struct {
		img  image.Named
		want string
	}{
		"a layer cannot be read": {broken(wrapped{Layer: bad, write: func(_ context.Context, w io.Writer) error {
			_, err := w.Write(part)
			return errors.Join(errDisk, err)
		}}), "disk is broken"},
		"a layer is not what it was": {broken(wrapped{Layer: bad, write: func(_ context.Context, w io.Writer) error {
			_, err := w.Write(part)
			return err
		}}), "expected sha256:"},
		"a layer has another digest": {broken(wrapped{Layer: bad, info: func(i layer.Info) layer.Info {
			i.DiffID = digest.FromString("other")
			return i
		}}), "expected sha256:"},
		"cancelled in a layer": {broken(wrapped{Layer: bad, write: func(ctx context.Context, w io.Writer) error {
			cancel()
			return bad.Write(ctx, w)
		}}), "context canceled"},
		"the name is none": {badName, "UPPER case"},
	}
}

func tarPart(ctx context.Context, l image.Layer) []byte {
	var b bytes.Buffer
	_ = l.Write(ctx, &b)
	return b.Bytes()[:300_000]
}

func TestFailureLeavesNothing(t *testing.T) {
	for _, state := range []string{"new", "empty", "layout"} {
		ctx, cancel := context.WithCancel(t.Context())
		for name := range brokenImages(ctx, cancel) {
			t.Run(state+", "+name, func(t *testing.T) {
				steady(t)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				test := brokenImages(ctx, cancel)[name]
				parent := t.TempDir()
				out := filepath.Join(parent, "out")
				mustWrite(t, filepath.Join(parent, "canary"), []byte("sings"))
				prepare(t, out, state)
				before := snapshot(t, parent)
				_, err := ocilayout.WriteDir(ctx, test.img, out, ocilayout.Options{})
				if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), fmt.Sprintf("%q", out)) {
					t.Errorf("error %v; want one with %q that names the layout", err, test.want)
				}
				if after := snapshot(t, parent); after != before {
					t.Errorf("before:\n%safter:\n%s", before, after)
				}
			})
		}
		cancel()
	}
}

// prepare puts a directory into a state.
func prepare(t *testing.T, out, state string) {
	t.Helper()
	switch state {
	case "empty":
		if err := os.Mkdir(out, 0o755); err != nil {
			t.Fatal(err)
		}
	case "layout":
		if _, err := ocilayout.WriteDir(t.Context(), newImage("old"), out, ocilayout.Options{}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDigestErrorIsTyped(t *testing.T) {
	l := wrapped{Layer: bigLayer("x", 1000), info: func(i layer.Info) layer.Info {
		i.DiffID = digest.FromString("other")
		return i
	}}
	_, err := ocilayout.WriteArchive(t.Context(), io.Discard, newImage("x", l), ocilayout.Options{})
	if digestErr := (*layer.DigestError)(nil); !errors.As(err, &digestErr) {
		t.Errorf("%v is not a DigestError", err)
	}
}

// limitedWriter fails after some bytes, like a full disk.
type limitedWriter struct{ left int }

func (w *limitedWriter) Write(p []byte) (int, error) {
	n := min(w.left, len(p))
	w.left -= n
	if n < len(p) {
		return n, syscall.ENOSPC
	}
	return n, nil
}

func TestArchiveOutputFails(t *testing.T) {
	steady(t)
	temp := t.TempDir()
	img := newImage("v1", bigLayer("a", 1<<20), bigLayer("b", 1<<20), newLayer(file("c", "c")))
	var whole bytes.Buffer
	if _, err := ocilayout.WriteArchive(t.Context(), &whole, img, ocilayout.Options{}); err != nil {
		t.Fatal(err)
	}
	for _, room := range []int{0, 512, 10_000, 1 << 20, 2 << 20, whole.Len() - 1} {
		_, err := ocilayout.WriteArchive(t.Context(), &limitedWriter{room}, img, ocilayout.Options{TempDir: temp})
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("room for %d bytes: %v; want %v", room, err, syscall.ENOSPC)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ocilayout.WriteArchive(ctx, io.Discard, img, ocilayout.Options{TempDir: temp}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if left := ls(t, temp); left != nil {
		t.Errorf("left in the temporary directory: %q", left)
	}
}

func TestWriteDirRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		make func(t *testing.T, out string)
		opts ocilayout.Options
		want string
	}{
		"a file":      {func(t *testing.T, out string) { mustWrite(t, out, nil) }, ocilayout.Options{}, "not a directory"},
		"a FIFO":      {func(t *testing.T, out string) { mkfifo(t, out) }, ocilayout.Options{}, "not a directory"},
		"a loose end": {func(t *testing.T, out string) { symlink(t, "nowhere", out) }, ocilayout.Options{}, "no such file"},
		"no parent":   {func(*testing.T, string) {}, ocilayout.Options{}, "no such file"},
		"something else": {
			func(t *testing.T, out string) { mustWrite(t, out+"/thesis.tex", []byte("x")) },
			ocilayout.Options{}, `"thesis.tex"`,
		},
		"another version": {
			func(t *testing.T, out string) {
				mustWrite(t, out+"/oci-layout", []byte(`{"imageLayoutVersion":"2.0.0"}`))
			}, ocilayout.Options{}, `"2.0.0"`,
		},
		"oci-layout a FIFO": {func(t *testing.T, out string) {
			mustWrite(t, out+"/index.json", nil)
			mkfifo(t, out+"/oci-layout")
		}, ocilayout.Options{}, "not a regular file"},
		"index.json a symlink": {func(t *testing.T, out string) {
			mustWrite(t, out+"/oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
			symlink(t, "/etc/passwd", out+"/index.json")
		}, ocilayout.Options{}, "not a regular file"},
		"blobs a symlink that leads out": {func(t *testing.T, out string) {
			mustWrite(t, out+"/oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
			mustWrite(t, out+"/index.json", []byte(`{"schemaVersion":2,"manifests":[]}`))
			symlink(t, "../elsewhere", out+"/blobs")
			if err := os.Mkdir(filepath.Join(filepath.Dir(out), "elsewhere"), 0o755); err != nil {
				t.Fatal(err)
			}
		}, ocilayout.Options{}, "escapes"},
		"garbage as index.json": {func(t *testing.T, out string) {
			mustWrite(t, out+"/oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
			mustWrite(t, out+"/index.json", []byte(`{"schemaVersion":2,"manifests":[],}`))
		}, ocilayout.Options{}, "index.json"},
		"a bad name":        {func(*testing.T, string) {}, ocilayout.Options{RefName: "a\nb"}, `"a\nb"`},
		"a bad compression": {func(*testing.T, string) {}, ocilayout.Options{Compression: compress.Compression{Algorithm: "xz"}}, `"xz"`},
	} {
		t.Run(name, func(t *testing.T) {
			steady(t)
			parent := t.TempDir()
			out := filepath.Join(parent, "out")
			if name == "no parent" {
				out = filepath.Join(parent, "missing", "out")
			}
			test.make(t, out)
			before := snapshot(t, parent)
			_, err := ocilayout.WriteDir(t.Context(), newImage("v1"), out, test.opts)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v; want one with %q", err, test.want)
			}
			if after := snapshot(t, parent); after != before {
				t.Errorf("before:\n%safter:\n%s", before, after)
			}
		})
	}
}

func mkfifo(t *testing.T, path string) {
	t.Helper()
	if err := unix.Mkfifo(path, 0o644); err != nil {
		t.Fatal(err)
	}
}

func symlink(t *testing.T, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

// locked opens a file or directory and locks it.
func locked(t *testing.T, dir string) *os.File {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	return f
}

// TestKilledWritersAreSweptUp: what a killed process left is removed, what a
// living one has stays.
func TestKilledWritersAreSweptUp(t *testing.T) {
	parent := t.TempDir()
	if err := os.Chmod(parent, 0o755); err != nil { // others cannot rename what is in it
		t.Fatal(err)
	}
	out := filepath.Join(parent, "out")
	mustWrite(t, parent+"/.out.varve-dead/blobs/sha256/x", []byte("x"))
	mustWrite(t, parent+"/.out.varve-alive/x", []byte("x"))
	mustWrite(t, parent+"/.other.varve-dead/x", []byte("x"))
	locked(t, parent+"/.out.varve-alive")
	if _, err := ocilayout.WriteDir(t.Context(), newImage("v1"), out, ocilayout.Options{}); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(ls(t, parent)); got != "[.other.varve-dead .out.varve-alive out]" {
		t.Errorf("left: %s", got)
	}
	want := snapshot(t, out)

	// Killed inside an existing directory: before its index.json was there.
	out2 := filepath.Join(parent, "out2")
	mustWrite(t, out2+"/.varve-3", []byte("half a layer"))
	mustWrite(t, out2+"/oci-layout", []byte(`{"imageLayoutVer`))
	if err := os.Rename(out2+"/oci-layout", out2+"/.varve-4"); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, out2+"/blobs/sha256/"+ls(t, out+"/blobs/sha256")[0], []byte("damaged"))
	if _, err := ocilayout.WriteDir(t.Context(), newImage("v1"), out2, ocilayout.Options{}); err != nil {
		t.Fatal(err)
	}
	if got := snapshot(t, out2); got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
	if err := os.Remove(out2 + "/index.json"); err != nil {
		t.Fatal(err)
	}
	if _, err := ocilayout.WriteDir(t.Context(), newImage("v1"), out2, ocilayout.Options{}); err != nil {
		t.Fatal(err)
	}
	if got := snapshot(t, out2); got != want {
		t.Errorf("without index.json: got:\n%swant:\n%s", got, want)
	}
}

func TestWriterWaitsForLock(t *testing.T) {
	steady(t)
	out := t.TempDir()
	mustWrite(t, out+"/.varve.lock", nil) // as a killed process leaves it
	lock := locked(t, out+"/.varve.lock")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := ocilayout.WriteDir(ctx, newImage("v1"), out, ocilayout.Options{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with the lock taken: %v", err)
	}
	if names := ls(t, out); len(names) != 1 {
		t.Errorf("wrote %q without the lock", names)
	}
	time.AfterFunc(100*time.Millisecond, func() { lock.Close() })
	if _, err := ocilayout.WriteDir(t.Context(), newImage("v1"), out, ocilayout.Options{}); err != nil {
		t.Error(err)
	}
	if names := ls(t, out); slices.Contains(names, ".varve.lock") {
		t.Errorf("left: %q", names)
	}
}

// TestManyWriters: all images get into one layout that does not exist at first.
func TestManyWriters(t *testing.T) {
	steady(t)
	parent := t.TempDir()
	out := filepath.Join(parent, "out")
	const n = 8
	digests := make([]digest.Digest, n)
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			var err error
			tag := fmt.Sprintf("v%d", i/2) // every image twice
			if digests[i], err = ocilayout.WriteDir(t.Context(), newImage(tag), out, ocilayout.Options{}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	var index v1.Index
	unmarshal(t, mustRead(t, out+"/index.json"), &index)
	if len(index.Manifests) != n/2 {
		t.Errorf("%d images in the index, %d written", len(index.Manifests), n/2)
	}
	for i, d := range digests {
		if d == "" || d != digests[i/2*2] {
			t.Errorf("image %d has the digest %s", i, d)
			continue
		}
		blob(t, out, d)
	}
	if names := ls(t, parent); len(names) != 1 {
		t.Errorf("left: %q", names)
	}
}
