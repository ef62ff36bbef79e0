package ocilayout

import (
	"io"
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestForeignBlob: a layer that is kept elsewhere is read where the layout has it all the same,
// and otherwise the error says why it is not there.
func TestForeignBlob(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	l := &Layout{files: dirFiles{root}}
	d := v1.Descriptor{Digest: digest.FromString("a layer"), Size: 7}
	read := func() (string, error) {
		r, err := l.Fetch(t.Context(), d)
		if err != nil {
			return "", err
		}
		defer r.Close()
		data, err := io.ReadAll(r)
		return string(data), err
	}
	if _, err := read(); err == nil || strings.Contains(err.Error(), "urls") {
		t.Errorf("a blob that is missing: %v", err)
	}
	d.URLs = []string{"https://registry.example/layer"}
	if _, err := read(); err == nil || !strings.Contains(err.Error(), "kept outside of the layout") {
		t.Errorf("a blob that is elsewhere: %v", err)
	}
	if err := os.MkdirAll(dir+"/blobs/sha256", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/"+BlobPath(d.Digest), []byte("a layer"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := read(); err != nil || got != "a layer" {
		t.Errorf("a blob that is here: %q, %v", got, err)
	}
}
