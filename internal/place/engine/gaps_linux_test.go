package engine

import (
	"context"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/place/dockerarchive"
	"github.com/varve-image/varve/internal/testtools"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

const mib = 1 << 20

// bigLayer returns a layer of one file that cannot be compressed.
func bigLayer(name, seed string, size int64) image.Layer {
	return layer.New(func() tree.Seq {
		return func(yield func(*tree.Entry, error) bool) {
			yield(&tree.Entry{
				Path: name, Type: tree.Regular, Mode: 0o644, Size: size,
				Content: tree.OpenFunc(func() (io.ReadCloser, error) {
					return io.NopCloser(io.LimitReader(rand.NewChaCha8(sha256.Sum256([]byte(name+seed))), size)), nil
				}),
			}, nil)
		}
	}, layer.Options{Title: name})
}

// proxied returns a socket that leads to another, and counts what is sent there.
func proxied(t *testing.T, socket string) (string, *atomic.Int64) {
	t.Helper()
	dir, err := os.MkdirTemp("", "p") // short: a socket's path has a limit
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(); os.RemoveAll(dir) })
	var sent atomic.Int64
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go tunnel(countingConn{conn.(*net.UnixConn), &sent}, socket)
		}
	}()
	return path, &sent
}

// countingConn counts what is read from it.
type countingConn struct {
	*net.UnixConn
	sent *atomic.Int64
}

func (c countingConn) Read(p []byte) (int, error) {
	n, err := c.UnixConn.Read(p)
	c.sent.Add(int64(n))
	return n, err
}

// WriteTo hides the method that would count nothing.
func (c countingConn) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{c})
}

// counted is an engine with a count of what it was sent.
type counted struct {
	Engine
	sent *atomic.Int64
	// piped says that archives go to a command, and are counted there.
	piped bool
	// remove removes an image as the engine's own command does.
	remove func(name string) error
}

// archive writes an image, counts that if nobody else does, and calls between before the first
// archive that has gaps.
func (c counted) archive(img image.Named, between func()) Archive {
	a := archiveOf(img)
	write := a.Write
	a.Write = func(ctx context.Context, w io.Writer, form Form) (digest.Digest, error) {
		if form.Omit != nil && between != nil {
			between()
			between = nil
		}
		if c.piped {
			w = countingWriter{w, c.sent}
		}
		return write(ctx, w, form)
	}
	return a
}

type countingWriter struct {
	io.Writer
	sent *atomic.Int64
}

func (c countingWriter) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.sent.Add(int64(n))
	return n, err
}

// countedEngines are the engines that are sent what is missing.
var countedEngines = ofThese(map[string]func(*testing.T) counted{
	"docker":         func(t *testing.T) counted { return countedDocker(t, "docker") },
	"docker-classic": func(t *testing.T) counted { return countedDocker(t, "docker-classic") },
	"podman": func(t *testing.T) counted {
		podman := engines.Podman(t)
		return counted{startPodmanCommand(t), new(atomic.Int64), true, func(name string) error { return podman.Remove(context.Background(), name) }}
	},
	"podman service": func(t *testing.T) counted {
		podman := engines.Podman(t)
		socket, sent := proxied(t, startPodmanService(t).(*api).host.address)
		e, err := Podman(t.Context(), PodmanOptions{Host: "unix://" + socket})
		if err != nil {
			t.Fatal(err)
		}
		return counted{e, sent, false, func(name string) error { return podman.Remove(context.Background(), name) }}
	},
	"containerd": func(t *testing.T) counted {
		t.Setenv("CONTAINERD_SNAPSHOTTER", "native")
		socket, sent := proxied(t, engines.Containerd(t).Address())
		e, err := Containerd(ContainerdOptions{Socket: socket, Namespace: "varve-daemon"})
		if err != nil {
			t.Fatal(err)
		}
		c := e.(*containerd)
		return counted{e, sent, false, func(name string) error {
			_, err := output(context.Background(), maxText, "ctr", c.args("images", "rm", "--sync", name)...)
			return err
		}}
	},
})

func countedDocker(t *testing.T, name string) counted {
	docker := engines.Get(t, name)
	socket, sent := proxied(t, strings.TrimPrefix(docker.Address(), "unix://"))
	e, err := Docker(DockerOptions{Host: "unix://" + socket})
	if err != nil {
		t.Fatal(err)
	}
	return counted{e, sent, false, func(name string) error { return docker.Remove(context.Background(), name) }}
}

// smallDocker and smallContainerd have little room.
func smallDocker(t *testing.T) counted {
	docker := engines.Small(t, "docker")
	e, err := Docker(DockerOptions{Host: docker.Address()})
	if err != nil {
		t.Fatal(err)
	}
	return counted{Engine: e, sent: new(atomic.Int64), piped: true, remove: func(name string) error { return docker.Remove(context.Background(), name) }}
}

func smallContainerd(t *testing.T) counted {
	t.Setenv("CONTAINERD_SNAPSHOTTER", "native")
	e, err := Containerd(ContainerdOptions{Socket: engines.Small(t, "containerd").Address(), Namespace: "varve-daemon"})
	if err != nil {
		t.Fatal(err)
	}
	return counted{Engine: e, sent: new(atomic.Int64), piped: true}
}

// TestDiskFull: an engine whose disk is full, when it gets an image with gaps or a whole one, is an
// error. The name stays where it was, and no other is left.
func TestDiskFull(t *testing.T) {
	testtools.NeedRoot(t)
	for name, start := range map[string]func(*testing.T) counted{"docker": smallDocker, "containerd": smallContainerd} {
		t.Run(name, func(t *testing.T) {
			e := start(t)
			tag := "example.org/varve-full/" + name + ":1"
			low := bigLayer("low", name, 5*mib)
			first := bigImage(tag, low, bigLayer("top", name, 100))
			e.load(t, first, nil)
			for what, img := range map[string]image.Named{
				"gaps":  bigImage(tag, low, bigLayer("top", name+" again", 80*mib)),
				"whole": bigImage(tag, bigLayer("other", name, 80*mib)),
			} {
				before := e.sent.Load()
				_, err := Load(t.Context(), e, img, e.archive(img, nil))
				t.Logf("%s: %d bytes, %v", what, e.sent.Load()-before, err)
				if err == nil || !strings.Contains(err.Error(), "no space left on device") {
					t.Errorf("%s: %v", what, err)
				}
				if names, err := List(t.Context(), e.Engine); err != nil || !slices.Equal(names, []string{tag}) {
					t.Errorf("%s: it has %q now, %v", what, names, err)
				}
			}
			e.checkWhole(t, first)
		})
	}
}

// load loads an image, and returns how much was sent, in bytes.
func (c counted) load(t *testing.T, img image.Named, between func()) (Loaded, int64) {
	t.Helper()
	before, start := c.sent.Load(), time.Now()
	loaded, err := Load(t.Context(), c, img, c.archive(img, between))
	if err != nil {
		t.Fatal(err)
	}
	sent := c.sent.Load() - before
	t.Logf("%.1f MB in %v", float64(sent)/1e6, time.Since(start).Round(time.Millisecond))
	return loaded, sent
}

// checkWhole checks that the engine has every layer of an image, by what it saves.
func (c counted) checkWhole(t *testing.T, img image.Named) {
	t.Helper()
	name := img.RepoTags[0]
	has, err := c.Identify(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if d, err := archiveOf(img).Describe(t.Context()); err != nil || has.Manifest != "" && has.Manifest != d.Manifest || has.Incomplete {
		t.Errorf("it has %+v, want %+v (%v)", has, d, err)
	}
	t.Logf("the manifest is %q", has.Manifest)
	r, err := Open(t.Context(), c, name, "")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	a, err := dockerarchive.Read(t.Context(), name, r, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	stored, err := a.Open(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if want, err := image.ID(t.Context(), img); err != nil || digest.FromBytes(stored.ConfigJSON) != want {
		t.Errorf("config %s, %v; want the id %s", stored.ConfigJSON, err, want)
	}
	for i, l := range img.Layers() {
		want, err := l.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := stored.Layers()[i].Info(t.Context()); err != nil || got != want {
			t.Errorf("layer %d: %+v, %v; want %+v", i+1, got, err, want)
		}
	}
}

// TestGaps: after a change of the top layer of a large image an engine gets that layer, and without
// a change nothing.
func TestGaps(t *testing.T) {
	testtools.NeedRoot(t)
	for name, start := range countedEngines {
		t.Run(name, func(t *testing.T) {
			e := start(t)
			tag := "example.org/varve-gaps/" + strings.ReplaceAll(name, " ", "-") + ":1"
			low, middle := bigLayer("low", name, 60*mib), bigLayer("middle", name, 40*mib)
			if _, sent := e.load(t, bigImage(tag, low, middle, bigLayer("top", name, 2*mib)), nil); sent < 100*mib {
				t.Errorf("the first load sends %d bytes", sent)
			}
			changed := bigImage(tag, low, middle, bigLayer("top", name+" again", 2*mib))
			if _, sent := e.load(t, changed, nil); sent > 3*mib {
				t.Errorf("after a change of 2 MiB, %d bytes are sent", sent)
			}
			e.checkWhole(t, changed)
			if loaded, sent := e.load(t, changed, nil); sent > 16<<10 || !loaded.Present {
				t.Errorf("without a change, %d bytes are sent; %+v", sent, loaded)
			}
		})
	}
}

// TestGapsRemoved: what an engine loses after it was asked is sent all the same.
func TestGapsRemoved(t *testing.T) {
	testtools.NeedRoot(t)
	for name, start := range countedEngines {
		t.Run(name, func(t *testing.T) {
			e := start(t)
			tag := "example.org/varve-removed/" + strings.ReplaceAll(name, " ", "-")
			low := bigLayer("low", name+" to remove", 10*mib)
			e.load(t, bigImage(tag+":1", low, bigLayer("top", name, 100)), nil)
			img := bigImage(tag+":2", low, bigLayer("top", name+" again", 100))
			removed := false
			_, sent := e.load(t, img, func() {
				removed = true
				if err := e.remove(tag + ":1"); err != nil {
					t.Error(err)
				}
			})
			if !removed || sent < 10*mib {
				t.Errorf("removed: %t, and %d bytes are sent", removed, sent)
			}
			e.checkWhole(t, img)
		})
	}
}
