package engine

import (
	"archive/tar"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// contentDaemon answers as Docker with containerd's store: it knows blobs by their digests, takes
// archives that lack some, and says so in an answer that is none of an error.
type contentDaemon struct {
	mu      sync.Mutex
	version string
	blobs   map[digest.Digest][]byte
	images  map[digest.Digest]v1.Manifest
	tags    map[string]digest.Digest
	// forgets is called before an archive is read, and full makes all unpacking fail.
	forgets func()
	full    bool
	// loads has the number of layers in each archive.
	loads []int
}

func (d *contentDaemon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	w.Header().Set("Api-Version", d.version)
	name := strings.TrimPrefix(path.Dir(r.URL.Path), "/images/")
	switch path.Base(r.URL.Path) {
	case "info":
		io.WriteString(w, `{"Driver": "overlayfs", "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}`)
	case "_ping":
		io.WriteString(w, "OK")
	case "load":
		d.load(w, r.Body)
	case "tag":
		d.tags[r.URL.Query().Get("repo")+":"+r.URL.Query().Get("tag")] = digest.Digest(name)
		w.WriteHeader(http.StatusCreated)
	case "json":
		if r.URL.Path == "/images/json" {
			var list []map[string]any
			for id := range d.images {
				list = append(list, map[string]any{"Id": id})
			}
			json.NewEncoder(w).Encode(list)
			return
		}
		d.inspect(w, name)
	default: // DELETE
		delete(d.images, digest.Digest(path.Base(r.URL.Path)))
	}
}

func (d *contentDaemon) lacks(m v1.Manifest) bool {
	return slices.ContainsFunc(m.Layers, func(l v1.Descriptor) bool { return d.blobs[l.Digest] == nil })
}

func (d *contentDaemon) inspect(w http.ResponseWriter, name string) {
	id, ok := d.tags[name]
	if !ok {
		id = digest.Digest(name)
	}
	m, ok := d.images[id]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	var config v1.Image
	json.Unmarshal(d.blobs[m.Config.Digest], &config)
	var tags []string
	for name, tagged := range d.tags {
		if tagged == id {
			tags = append(tags, name)
		}
	}
	answer := map[string]any{"Id": id, "RepoTags": tags, "Descriptor": map[string]any{"digest": id}, "RootFS": map[string]any{"Layers": config.RootFS.DiffIDs}}
	if d.version >= "1.48" {
		answer["Manifests"] = []any{map[string]any{"ID": id, "Available": !d.lacks(m)}}
	}
	json.NewEncoder(w).Encode(answer)
}

func (d *contentDaemon) load(w http.ResponseWriter, body io.Reader) {
	if d.forgets != nil {
		d.forgets()
		d.forgets = nil
	}
	var index v1.Index
	before := len(d.blobs)
	for t := tar.NewReader(body); ; {
		h, err := t.Next()
		if err != nil {
			break
		}
		data, _ := io.ReadAll(t)
		if h.Name == "index.json" {
			json.Unmarshal(data, &index)
		} else if h.Typeflag == tar.TypeReg {
			d.blobs[digest.NewDigestFromEncoded("sha256", path.Base(h.Name))] = data
		}
	}
	d.loads = append(d.loads, len(d.blobs)-before)
	top := index.Manifests[0]
	var m v1.Manifest
	json.Unmarshal(d.blobs[top.Digest], &m)
	d.images[top.Digest] = m
	name := top.Annotations["io.containerd.image.name"]
	if name != "" {
		d.tags[name] = top.Digest
	}
	fmt.Fprintf(w, `{"stream":"Loaded image ID: %s\n"}`+"\n", top.Digest)
	if d.full || d.lacks(m) {
		fmt.Fprintf(w, `{"stream":"Error unpacking image %s: no such blob\n"}`+"\n", top.Digest)
	}
}

// bigImages returns images with a large layer in common and a small one each.
func bigImages() (first, second image.Named) {
	big := testLayer("big", strings.Repeat("0123456789abcdef", 2<<20/16))
	return bigImage("example.org/big:1", big, testLayer("top", "one")), bigImage("example.org/big:1", big, testLayer("top", "two"))
}

func testLayer(name, content string) image.Layer {
	return layer.New(func() tree.Seq {
		return func(yield func(*tree.Entry, error) bool) { yield(tree.NewFile(name, 0o644, content), nil) }
	}, layer.Options{Title: name})
}

// TestContentStore: Docker with containerd's store gets what is missing there, and no name before
// it has everything.
func TestContentStore(t *testing.T) {
	const name = "example.org/big:1"
	first, second := bigImages()
	for what, tt := range map[string]struct {
		version string
		happens func(d *contentDaemon)
		loads   []int // layers, config and manifest, that were new in each archive after the first
		err     string
	}{
		"a change":   {"1.48", func(*contentDaemon) {}, []int{3}, ""},
		"old Docker": {"1.47", func(*contentDaemon) {}, []int{3}, ""},
		"a layer is gone": {"1.48", func(d *contentDaemon) {
			d.forgets = func() { forget(d) }
		}, []int{3, 1}, ""},
		"the disk is full": {"1.48", func(d *contentDaemon) { d.full = true }, []int{3, 0}, "Error unpacking image"},
	} {
		d := &contentDaemon{
			version: tt.version, blobs: map[digest.Digest][]byte{}, images: map[digest.Digest]v1.Manifest{}, tags: map[string]digest.Digest{},
		}
		e := fake(t, d)
		if _, err := Load(t.Context(), e, first, archiveOf(first)); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		was := d.tags[name]
		tt.happens(d)
		d.loads = nil
		loaded, err := Load(t.Context(), e, second, archiveOf(second))
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: %v, want %q", what, err, tt.err)
			}
			if d.tags[name] != was || len(d.images) != 1 {
				t.Errorf("%s: the name is %s, was %s; there are %d images", what, d.tags[name], was, len(d.images))
			}
		} else if m, ok := d.images[d.tags[name]]; err != nil || !ok || d.lacks(m) || loaded.Manifest != d.tags[name] || loaded.Manifest == was {
			t.Errorf("%s: %v, %+v; the name is %s, was %s", what, err, loaded, d.tags[name], was)
		}
		if !slices.Equal(d.loads, tt.loads) {
			t.Errorf("%s: archives with %d new members, want %d", what, d.loads, tt.loads)
		}
		if tt.err != "" {
			continue
		}
		if loaded, err = Load(t.Context(), e, second, archiveOf(second)); err != nil || !loaded.Present || len(d.loads) != len(tt.loads) {
			t.Errorf("%s: again: %+v, %v", what, loaded, err)
		}
		second.Names = image.Names{}
		if loaded, err = Load(t.Context(), e, second, archiveOf(second)); err != nil || !loaded.Present {
			t.Errorf("%s: without a name: %+v, %v", what, loaded, err)
		}
		second.RepoTags = []string{name}
	}
}

// forget removes the lowest layer of the images.
func forget(d *contentDaemon) {
	for _, m := range d.images {
		delete(d.blobs, m.Layers[0].Digest)
	}
}

// TestDiscardsWhatIsNameless: what others have named meanwhile stays.
func TestDiscardsWhatIsNameless(t *testing.T) {
	named, nameless := digest.FromString("named"), digest.FromString("nameless")
	d := &contentDaemon{images: map[digest.Digest]v1.Manifest{named: {}, nameless: {}}, tags: map[string]digest.Digest{"other:1": named}}
	a := fake(t, d).(*api)
	a.discard(t.Context(), named)
	a.discard(t.Context(), nameless)
	if _, ok := d.images[named]; !ok {
		t.Error("an image that has a name is removed")
	}
	if _, ok := d.images[nameless]; ok {
		t.Error("an image without a name is left")
	}
}

// TestRepeatedLayer: a layer is left out only if the engine has it at all of its places.
func TestRepeatedLayer(t *testing.T) {
	img := &Image{layers: []size{{"sha256:big", 2 << 20}, {"sha256:empty", 1}, {"sha256:own", 1}, {"sha256:empty", 1}}}
	_, err := img.sparingly(t.Context(), Form{}, func(n int) bool { return n < 2 }, func(_ context.Context, form Form) ([]string, error) {
		for diffID, want := range map[digest.Digest]bool{"sha256:big": true, "sha256:empty": false, "sha256:own": false} {
			if got := form.Omit(diffID, diffID); got != want {
				t.Errorf("%s is left out: %t", diffID, got)
			}
		}
		return nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
