package dockertools

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/goldenstore"
	"github.com/varve-image/varve/internal/place/dockerarchive"
)

// streamConf writes the archive of a conf.json.
func streamConf(t *testing.T, root, file, repoTag string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	conf, err := ParseConf(data)
	if err != nil {
		t.Fatal(err)
	}
	img, err := conf.Image(context.Background(), ConfOptions{Root: root, RepoTag: repoTag, OpenBase: func(ctx context.Context, name string) (*image.Stored, error) {
		a, err := dockerarchive.Open(ctx, name, t.TempDir())
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { a.Close() })
		return a.Open(ctx, 0)
	}})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := dockerarchive.Write(context.Background(), &out, img, dockerarchive.Options{RepeatLayers: true}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestConfGolden compares the archive of each conf.json with what nixpkgs' streamer
// wrote.
func TestConfGolden(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	if _, err := goldenstore.Make(root); err != nil {
		t.Fatal(err)
	}
	const dir = "../place/dockerarchive/testdata/golden/"
	sums, err := os.ReadFile(dir + "stream.sums")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(sums)) {
		var sum, name string
		var size int
		if _, err := fmt.Sscan(line, &sum, &size, &name); err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) {
			archive := streamConf(t, root, dir+name+".json", "")
			if got := fmt.Sprintf("%x", sha256.Sum256(archive)); got != sum || len(archive) != size {
				t.Errorf("archive is %s with %d bytes, want %s with %d", got, len(archive), sum, size)
			}
			if name == "parent" { // the child cases build on it
				if err := os.WriteFile(root+"/nix/images/parent.tar", archive, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	archive := streamConf(t, root, dir+"plain.json", "other:tag")
	if got, want := fmt.Sprintf("%x", sha256.Sum256(archive)), "9e00558d5e97b5e7e3b0bb947a3de0fcd15efb98593711b7efb7c4ae856916d8"; got != want {
		t.Errorf("with another name and tag: %s, want %s", got, want)
	}
}
