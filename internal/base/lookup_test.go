package base_test

import (
	"log/slog"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/base"
	"github.com/varve-image/varve/internal/base/lockfile"
	"github.com/varve-image/varve/internal/place"
	"github.com/varve-image/varve/internal/place/registry"
)

// newRegistry runs a registry in the test, and returns its host and how to talk to it.
func newRegistry(t *testing.T) (host string, opts place.Options) {
	t.Helper()
	server := httptest.NewServer(ggcr.New(ggcr.Logger(slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo))))
	t.Cleanup(server.Close)
	host = strings.TrimPrefix(server.URL, "http://")
	return host, place.Options{Registry: func(string) (registry.Options, error) {
		return registry.Options{InsecureHosts: []string{host}}, nil
	}}
}

// newImage returns an image without layers.
func newImage(os, arch, created string) image.Image {
	return image.New(image.Description{OS: os, Architecture: arch, Created: created})
}

// pushIndex writes an index to a registry.
func pushIndex(t *testing.T, ref string, opts place.Options, images ...image.Image) {
	t.Helper()
	target, err := place.ToIndex(t.Context(), place.Ref{Transport: place.Registry, Name: ref}, ref, place.TargetOptions{Options: opts})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := target.WriteIndex(t.Context(), &image.Index{Images: images}, nil); err != nil {
		t.Fatal(err)
	}
}

func TestLookUp(t *testing.T) {
	host, opts := newRegistry(t)
	ref := host + "/app:1"
	const created = "1970-01-01T00:00:01Z"
	tests := []struct {
		name   string
		images []image.Image
		want   []string // platforms
		err    string
	}{
		{"two architectures", []image.Image{newImage("linux", "amd64", created), newImage("linux", "arm64", created)}, []string{"linux/amd64", "linux/arm64"}, ""},
		{"another system too", []image.Image{newImage("windows", "amd64", created), newImage("linux", "arm64", created)}, []string{"linux/arm64"}, ""},
		{"another system alone", []image.Image{newImage("windows", "amd64", created)}, nil, "no image for linux"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pushIndex(t, ref, opts, tt.images...)
			got, err := base.LookUp(t.Context(), ref, opts)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got the error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if platforms := slices.Sorted(maps.Keys(got.Platforms)); !slices.Equal(platforms, tt.want) {
				t.Errorf("got %v", platforms)
			}
		})
	}
}

// TestUpdateLock: what was not looked up stays, and what was is compared with its old entry.
func TestUpdateLock(t *testing.T) {
	host, opts := newRegistry(t)
	ref := host + "/app:1"
	path := filepath.Join(t.TempDir(), lockfile.Name)
	other := "example.org/other:1"
	update := func() *base.LockUpdate {
		t.Helper()
		u, err := base.UpdateLock(t.Context(), path, []string{ref, ref}, opts)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	pushIndex(t, ref, opts, newImage("linux", "amd64", "1970-01-01T00:00:01Z"))
	u := update()
	if u.Changed() != 1 || len(u.Changes) != 1 || !strings.Contains(u.Changes[0].Text, "new, for linux/amd64") {
		t.Errorf("got %+v", u.Changes)
	}
	u.File.Images[other] = u.File.Images[ref]
	write(t, path, u.File)
	if u = update(); u.Changed() != 0 || len(u.Changes) != 1 || len(u.File.Images) != 2 {
		t.Errorf("got %+v of the same image", u)
	}
	pushIndex(t, ref, opts, newImage("linux", "amd64", "1970-01-01T00:00:02Z"))
	if u = update(); u.Changed() != 1 || !strings.Contains(u.Changes[0].Text, "; changed: linux/amd64") {
		t.Errorf("got %+v of another image", u.Changes)
	}
}

// TestLookUpWarns: an image whose platform is wrong in the index is left out.
func TestLookUpWarns(t *testing.T) {
	host, opts := newRegistry(t)
	ref := host + "/app:1"
	wrong, err := image.AsStored(t.Context(), newImage("linux", "riscv64", "1970-01-01T00:00:01Z"))
	if err != nil {
		t.Fatal(err)
	}
	wrong.ManifestDescriptor.Platform = &v1.Platform{OS: "linux", Architecture: "s390x"}
	pushIndex(t, ref, opts, newImage("linux", "amd64", "1970-01-01T00:00:01Z"), wrong)
	var warned []string
	opts.Warn = func(text string) { warned = append(warned, text) }
	got, err := base.LookUp(t.Context(), ref, opts)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Platforms) != 1 {
		t.Errorf("got %v", got.Platforms)
	}
	if len(warned) != 1 || !strings.HasPrefix(warned[0], ref+": left out: manifest sha256:") || !strings.Contains(warned[0], "riscv64") {
		t.Errorf("got the warnings %q", warned)
	}
}

// write writes a varve.lock.
func write(t *testing.T, path string, file *lockfile.File) {
	t.Helper()
	data, err := file.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
