package place_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/internal/place"
)

// layoutOf writes an index for two architectures, and an image for one of them, to a layout.
func layoutOf(t *testing.T) string {
	t.Helper()
	path := t.TempDir() + "/layout"
	at := func(name string) image.IndexTarget {
		target, err := place.ToIndex(t.Context(), place.Ref{Transport: place.OCIDir, Path: path, Name: name}, path, place.TargetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return target
	}
	img := func(arch, created string) image.Image {
		return image.New(image.Description{OS: "linux", Architecture: arch, Created: created})
	}
	x := &image.Index{Images: []image.Image{img("amd64", "1970-01-01T00:00:01Z"), img("arm64", "1970-01-01T00:00:01Z")}}
	if _, err := at("both:1").WriteIndex(t.Context(), x, nil); err != nil {
		t.Fatal(err)
	}
	one := image.Named{Image: img("amd64", "1970-01-01T00:00:02Z")}
	if _, err := at("one:1").Write(t.Context(), []image.Named{one}, nil); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestOpenImages: which images are opened, and the errors for the others.
func TestOpenImages(t *testing.T) {
	layout := layoutOf(t)
	amd64, arm64 := v1.Platform{OS: "linux", Architecture: "amd64"}, v1.Platform{OS: "linux", Architecture: "arm64"}
	tests := []struct {
		name, ref string
		want      place.Wanted
		images    []string // NAME ARCHITECTURE
		warns     string
		err       string
	}{
		{"all", "oci:" + layout, place.Wanted{Platform: arm64}, []string{"both:1 arm64", "one:1 amd64"}, "", ""},
		{"one platform's", "oci:" + layout, place.Wanted{Platform: arm64, Only: true}, []string{"both:1 arm64"}, "left out: 1 image for other platforms than linux/arm64", ""},
		{"a name's", "oci:" + layout + ":both:1", place.Wanted{Platform: amd64}, []string{"both:1 amd64"}, "", ""},
		{"one that stands alone", "oci:" + layout + ":one:1", place.Wanted{Platform: arm64}, []string{"one:1 amd64"}, "", ""},
		{"one that stands alone, for another platform", "oci:" + layout + ":one:1", place.Wanted{Platform: arm64, Only: true}, nil, "", "for linux/amd64 alone"},
		{"none", "oci:" + layout + ":none:1", place.Wanted{Platform: amd64}, nil, "", "none:1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var warned strings.Builder
			found, err := place.OpenImages(t.Context(), tt.ref, tt.want, place.Options{Warn: func(text string) { warned.WriteString(text) }})
			if !strings.Contains(warned.String(), tt.warns) || tt.warns == "" && warned.Len() > 0 {
				t.Errorf("got the warning %q", warned.String())
			}
			if tt.err != "" {
				var wrong *place.RefError
				if !errors.As(err, &wrong) || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got the error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer found.Close()
			var got []string
			for _, img := range found.List {
				got = append(got, strings.Join(img.Names, ",")+" "+img.ConfigPlatform().Architecture)
			}
			if !slices.Equal(got, tt.images) {
				t.Errorf("got %q", got)
			}
		})
	}
}

// TestDocument: a reference names one document, or there is an error that names the images.
func TestDocument(t *testing.T) {
	layout := layoutOf(t)
	both, err := place.OpenPlatforms(t.Context(), "oci:"+layout+":both:1", place.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer both.Close()
	raw, err := both.Document(layout)
	if err != nil || len(both.List) != 2 || !strings.Contains(string(raw), `"manifests"`) {
		t.Errorf("got %s, %v", raw, err)
	}
	all, err := place.OpenPlatforms(t.Context(), layout, place.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer all.Close()
	_, err = all.Document(layout)
	var several *place.RefError
	if !errors.As(err, &several) || len(several.Hints) != 1 || !strings.HasPrefix(several.Hints[0], "say which: both:1") {
		t.Errorf("got the error %v", err)
	}
}
