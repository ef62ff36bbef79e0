package place_test

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/imagetest"
	"github.com/varve-image/varve/internal/place"
)

// TestSuite: Open reads what To writes, by references alone and with empty options. The packages
// of the places test the rest.
func TestSuite(t *testing.T) {
	for _, text := range []string{
		"docker-archive:DIR/a", "archive:DIR/a", "archive:DIR/a:app:1", "DIR/a.tar", "DIR/a.tar.zst", "DIR/out/", "oci:DIR/out:v1", "oci-archive:DIR/a", "oci-archive:DIR/a.tar:v1", "dir:DIR/out",
	} {
		t.Run(strings.ReplaceAll(text, "/", " "), func(t *testing.T) {
			imagetest.Run(t, func(t *testing.T) imagetest.Place { return referred(t, text) }, "repeated layers", "another's config")
		})
	}
}

// referred is the place that a reference names, in a directory of its own.
func referred(t *testing.T, text string) imagetest.Place {
	dir := t.TempDir()
	text = strings.ReplaceAll(text, "DIR", dir)
	ref, err := place.ParseTarget(text)
	if err != nil {
		t.Fatal(err)
	}
	target, err := place.To(t.Context(), ref, place.TargetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p := imagetest.Place{
		Target: target,
		Open: func(ctx context.Context) (image.Source, error) {
			r, err := place.ParseSource(text)
			if err != nil {
				return nil, err
			}
			src, name, err := place.Open(ctx, r, place.Options{})
			if err == nil && name != ref.Name && strings.Contains(text, ":"+ref.Name) {
				t.Errorf("%s is of the image %q", text, name)
			}
			return src, err
		},
		Name:  ref.Name,
		Bytes: func(t testing.TB) string { return contents(t, dir) },
	}
	if ref.Transport == place.ImageDir { // which has no names of images
		p.Name = "@0"
	}
	return p
}

// contents returns the files below a directory.
func contents(t testing.TB, dir string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		all.WriteString(strings.TrimPrefix(path, dir) + "\n" + string(data) + "\n")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// TestSuiteStreams: an archive to standard output, and from standard input.
func TestSuiteStreams(t *testing.T) {
	for _, text := range []string{"-", "archive:-", "docker-archive:-", "oci-archive:-"} {
		t.Run(text, func(t *testing.T) {
			imagetest.Run(t, func(t *testing.T) imagetest.Place { return streamed(t, text) }, "repeated layers")
		})
	}
}

func streamed(t *testing.T, text string) imagetest.Place {
	ref, err := place.ParseTarget(text)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	target, err := place.To(t.Context(), ref, place.TargetOptions{Options: place.Options{Stdout: &out, TempDir: t.TempDir()}})
	if err != nil {
		t.Fatal(err)
	}
	return imagetest.Place{
		Target: target,
		Open: func(ctx context.Context) (image.Source, error) {
			r, err := place.ParseSource(text)
			if err != nil {
				return nil, err
			}
			in := func() (io.Reader, error) { return bytes.NewReader(out.Bytes()), nil }
			src, _, err := place.Open(ctx, r, place.Options{Stdin: in, TempDir: t.TempDir()})
			return src, err
		},
		Bytes: func(testing.TB) string { return out.String() },
	}
}

// TestNoStreams: empty options have neither standard input nor output.
func TestNoStreams(t *testing.T) {
	for _, text := range []string{"-", "oci-archive:-"} {
		ref, err := place.ParseTarget(text)
		if err != nil {
			t.Fatal(err)
		}
		target, err := place.To(t.Context(), ref, place.TargetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := target.Write(t.Context(), []image.Named{imagetest.Images(t)[0].Image}, nil); err == nil || !strings.Contains(err.Error(), "no standard output") {
			t.Errorf("%s: written: %v", text, err)
		}
		if _, _, err := place.Open(t.Context(), ref, place.Options{}); err == nil || !strings.Contains(err.Error(), "no standard input") {
			t.Errorf("%s: read: %v", text, err)
		}
	}
}

// TestToIndex: To returns an image.IndexTarget for each place that can hold an index, and ToIndex
// nothing for others.
func TestToIndex(t *testing.T) {
	for _, name := range place.Names() {
		text, _, _ := strings.Cut(name, ":")
		ref := place.Ref{Transport: place.Transport(text), Path: "x"}
		target, err := place.To(t.Context(), ref, place.TargetOptions{})
		if err != nil {
			if ref.Transport != place.LayerDir && !ref.Transport.IsEngine() {
				t.Errorf("%s: %v", text, err)
			}
			continue
		}
		_, takes := target.(image.IndexTarget)
		_, err = place.ToIndex(t.Context(), ref, text, place.TargetOptions{})
		if is := ref.Transport.TakesIndex(); is && !takes || is != (err == nil) || target.String() == "" {
			t.Errorf("%s: takes an index: %v, and is said to: %v, %v", text, takes, ref.Transport.TakesIndex(), err)
		}
	}
}
