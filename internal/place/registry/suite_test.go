package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/imagetest"
)

func TestSuite(t *testing.T) {
	for name, handler := range inProcess {
		for _, algorithm := range []compress.Algorithm{compress.None, compress.Gzip, compress.Zstd} {
			t.Run(name+" "+string(algorithm), func(t *testing.T) {
				imagetest.Run(t, func(t *testing.T) imagetest.Place { return place(t, handler(), algorithm) })
			})
		}
	}
}

// place is a repository of a registry of its own.
func place(t *testing.T, handler http.Handler, algorithm compress.Algorithm) imagetest.Place {
	reg := newFake(t, handler, false)
	ref := reg.host + "/suite/app:1"
	return imagetest.Place{
		Name: ref,
		Target: &Target{Ref: ref, Options: func() (PushOptions, error) {
			return PushOptions{Options: reg.options(), Compression: compress.Compression{Algorithm: algorithm}}, nil
		}},
		Open:  func(ctx context.Context) (image.Source, error) { return asSource(Resolve(ctx, ref, reg.options())) },
		Bytes: func(t testing.TB) string { return everything(t, reg) },
		Damage: func(t testing.TB, stored image.StoredLayer) {
			r, err := stored.OpenStored(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			data, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			data[len(data)/2] ^= 1
			reg.setHook(answer("/blobs/"+stored.Stored().Digest.String(), page("application/octet-stream", string(data))))
		},
	}
}

// asSource returns a nil source on an error.
func asSource(r *Resolved, err error) (image.Source, error) {
	if err != nil {
		return nil, err
	}
	return r, nil
}

// everything is the manifest that a registry has, and what that lists, as a
// plain client gets it.
func everything(t testing.TB, reg *fakeRegistry) string {
	t.Helper()
	var all bytes.Buffer
	get := func(path string) []byte {
		resp, err := http.Get("http://" + reg.host + "/v2/suite/app/" + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: status %d, %v", path, resp.StatusCode, err)
		}
		fmt.Fprintf(&all, "%s %s %q\n", path, resp.Header.Get("Content-Type"), data)
		return data
	}
	var manifest v1.Manifest
	if err := json.Unmarshal(get("manifests/1"), &manifest); err != nil {
		t.Fatal(err)
	}
	for _, d := range append(manifest.Layers, manifest.Config) {
		get("blobs/" + d.Digest.String())
	}
	http.DefaultClient.CloseIdleConnections()
	return strings.ReplaceAll(all.String(), reg.host, "HOST")
}
