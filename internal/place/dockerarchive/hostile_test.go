package dockerarchive

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/compress"
	"github.com/varve-image/varve/internal/hostile"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// TestHostile: bad archives are refused with what is wrong and where, from a
// file as from a stream; odd ones are read.
func TestHostile(t *testing.T) {
	for _, c := range hostile.ArchiveCases() {
		t.Run(c.Name, func(t *testing.T) {
			fromFile, fileErr := readAll(t, c.Data)
			fromStream, streamErr := readStream(t, c.Data)
			memo, name := proofs{}, filepath.Join(t.TempDir(), "archive")
			if err := os.WriteFile(name, c.Data, 0o600); err != nil {
				t.Fatal(err)
			}
			coldErr, warmErr := readRemembered(t, name, memo), readRemembered(t, name, memo)
			if c.Refused == nil && len(memo) == 0 && !compressed(c.Data) {
				t.Error("nothing is remembered")
			}
			for from, err := range map[string]error{"file": fileErr, "stream": streamErr, "cold": coldErr, "warm": warmErr} {
				for _, text := range c.Refused {
					if err == nil || !strings.Contains(err.Error(), text) {
						t.Errorf("%s: error %v, want %q in it", from, err, text)
					}
				}
				if c.Refused == nil && err != nil {
					t.Errorf("%s: %v", from, err)
				}
				var mismatch *layer.DigestError
				if got := errors.As(err, &mismatch); got != c.Mismatch {
					t.Errorf("%s: a digest error: %v, want %v (%v)", from, got, c.Mismatch, err)
				}
			}
			if c.Refused != nil {
				return
			}
			for i, want := range hostile.Image() {
				if fromFile[i] != string(want) || fromStream[i] != string(want) {
					t.Errorf("layer %d differs", i)
				}
			}
		})
	}
}

// proof is what a memo knows a stored layer by.
type proof struct {
	digest, diffID digest.Digest
	size           int64
	at             tree.Stamp
}

// proofs is a memo of stored layers, which takes every file for one that was changed long ago.
type proofs map[proof]layer.Unpacked

func (p proofs) Unpacked(blob v1.Descriptor, at tree.Stamp, diffID digest.Digest) (layer.Unpacked, bool) {
	u, ok := p[proof{blob.Digest, diffID, blob.Size, at}]
	return u, ok
}

func (p proofs) KeepUnpacked(blob v1.Descriptor, at tree.Stamp, diffID digest.Digest, u layer.Unpacked) {
	p[proof{blob.Digest, diffID, blob.Size, at}] = u
}

// compressed reports whether an archive has to be unpacked to be read.
func compressed(data []byte) bool {
	r, algorithm, err := compress.NewReader(bytes.NewReader(data))
	if err == nil {
		r.Close()
	}
	return algorithm != compress.None
}

// readRemembered reads every layer of the first image of a file twice, with a memo.
func readRemembered(t *testing.T, name string, memo layer.BlobMemo) error {
	a, err := Open(t.Context(), name, t.TempDir())
	if err != nil {
		return err
	}
	defer a.Close()
	img, err := a.Open(t.Context(), 0)
	if err != nil {
		return err
	}
	for _, l := range img.StoredLayers() {
		l.(image.RememberedLayer).Remember(memo)
		if _, err := l.Info(t.Context()); err != nil {
			return err
		}
		if err := l.Write(t.Context(), io.Discard); err != nil {
			return err
		}
	}
	return nil
}

// readStream reads every layer of the first image of a stream.
func readStream(t *testing.T, data []byte) ([]string, error) {
	a, err := Read(t.Context(), "standard input", io.MultiReader(bytes.NewReader(data)), t.TempDir())
	if err != nil {
		return nil, err
	}
	defer a.Close()
	img, err := a.Open(t.Context(), 0)
	if err != nil {
		return nil, err
	}
	var contents []string
	for _, l := range img.Layers() {
		var b bytes.Buffer
		if err := l.Write(t.Context(), &b); err != nil {
			return nil, err
		}
		contents = append(contents, b.String())
	}
	return contents, nil
}

// TestMemberNames: an archive that is written anew has names that lead nowhere else, and that
// say nothing about the archive, whatever the layers were called.
func TestMemberNames(t *testing.T) {
	id := digest.FromString("one").Encoded()
	for name, want := range map[string]string{
		"l0/layer.tar": "l0/layer.tar", "one.tar": "one.tar", "./l0/layer.tar": "l0/layer.tar", "x/../l0//layer.tar": "l0/layer.tar",
		"x/../../x/l0": "", "/l0/layer.tar": "", "oci-layout": id + "/layer.tar", "./repositories": id + "/layer.tar", "index.json": id + "/layer.tar",
		"a\x1b[2Jb": "a\x1b[2Jb",
	} {
		data := sound("one")
		data[0].name = name
		data[2].content = fmt.Sprintf(`[{"Config": "c.json", "Layers": [%s]}]`, strings.ReplaceAll(fmt.Sprintf("%q", path.Clean(name)), `\x1b`, `\u001b`))
		a, err := Read(t.Context(), "a", bytes.NewReader(makeTar(data...)), t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		img, err := a.Open(t.Context(), 0)
		if want == "" {
			if err == nil {
				t.Errorf("a layer %q is read", name)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := Write(t.Context(), &out, image.Named{Image: img}, Options{}); err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		first, err := tar.NewReader(bytes.NewReader(out.Bytes())).Next()
		if err != nil || first.Name != want {
			t.Errorf("a layer %q is written as %q, %v; want %q", name, first.Name, err, want)
		}
		if _, err := readAll(t, out.Bytes()); err != nil {
			t.Errorf("%q: the copy: %v", name, err)
		}
	}
}
