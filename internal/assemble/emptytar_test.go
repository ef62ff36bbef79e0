package assemble

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/varve-image/varve/internal/compress"
)

// TestEmptyTarball: it adds nothing but the directory that it is to go to.
func TestEmptyTarball(t *testing.T) {
	dir := makeFiles(t, map[string]string{"root/": ""})
	empty := make([]byte, 10240) // as GNU tar writes it
	var packed bytes.Buffer
	w, err := compress.Compression{Algorithm: compress.Gzip}.NewWriter(t.Context(), &packed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(empty); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"e.tar": empty, "short.tar": empty[:1024], "e.tar.gz": packed.Bytes()} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
		for source, want := range map[string][]string{
			name:                                     {"0755 0:0 ./"},
			"{source: " + name + ", target: /}":      {"0755 0:0 ./"},
			"{source: " + name + ", target: /opt/e}": {"0755 0:0 ./", "0755 0:0 ./opt/", "0755 0:0 ./opt/e/"},
			"{source: " + name + ", target: /opt, mode: 0700}":               {"0755 0:0 ./", "0700 0:0 ./opt/"},
			"{source: " + name + ", target: /opt, mode: 0700, owner: '5:6'}": {"0755 0:0 ./", "0700 5:6 ./opt/"},
			"{source: " + name + ", target: /opt, exclude: ['*']}":           {"0755 0:0 ./", "0755 0:0 ./opt/"},
		} {
			t.Run(source, func(t *testing.T) {
				wantLayer(t, mustBuild(t, dir, "name: a\ncopyToRoot: ["+source+"]\n"), 0, want...)
				r := mustBuild(t, dir, "name: a\nlayers: [{copyToRoot: ["+source+"]}]\n")
				wantLayer(t, r, 0, want...)
				wantLayer(t, r, 1, "0755 0:0 ./")
			})
		}
	}
}
