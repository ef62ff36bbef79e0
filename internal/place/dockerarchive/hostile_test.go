package dockerarchive

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/hostile"
	"github.com/varve-image/varve/layer"
)

// TestHostile: bad archives are refused with what is wrong and where, from a
// file as from a stream; odd ones are read.
func TestHostile(t *testing.T) {
	for _, c := range hostile.ArchiveCases() {
		t.Run(c.Name, func(t *testing.T) {
			fromFile, fileErr := readAll(t, c.Data)
			fromStream, streamErr := readStream(t, c.Data)
			for from, err := range map[string]error{"file": fileErr, "stream": streamErr} {
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
