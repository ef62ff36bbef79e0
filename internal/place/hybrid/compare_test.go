package hybrid

import (
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/image"
)

// TestContradiction: a name is that of one image, whatever else a layout lists under it.
func TestContradiction(t *testing.T) {
	const a, b = digest.Digest("sha256:a"), digest.Digest("sha256:b")
	listed := func(index string) image.Listed {
		return image.Listed{Names: []string{"x:1"}, Index: digest.Digest(index)}
	}
	for _, tt := range []struct {
		name  string
		oci   []image.Listed
		ids   []digest.Digest
		wrong bool
	}{
		{"the same", []image.Listed{listed("")}, []digest.Digest{a}, false},
		{"another", []image.Listed{listed("")}, []digest.Digest{b}, true},
		{"none", nil, nil, false},
		{"one that is not there", []image.Listed{listed("")}, []digest.Digest{""}, false},
		{"another, and one that is not there", []image.Listed{listed(""), listed("")}, []digest.Digest{b, ""}, true},
		{"the same and another", []image.Listed{listed(""), listed("")}, []digest.Digest{a, b}, true},
		{"one of an index", []image.Listed{listed("sha256:i"), listed("sha256:i")}, []digest.Digest{a, b}, false},
		{"one of an index that is not there", []image.Listed{listed("sha256:i"), listed("sha256:i")}, []digest.Digest{a, ""}, false},
		{"none of an index", []image.Listed{listed("sha256:i"), listed("sha256:i")}, []digest.Digest{b, ""}, true},
		{"one of an index, and another by itself", []image.Listed{listed("sha256:i"), listed("")}, []digest.Digest{a, b}, true},
	} {
		c := comparison{dockerList: []image.Listed{listed("")}, dockerIDs: []digest.Digest{a}, ociList: tt.oci, ociIDs: tt.ids}
		if err := c.contradiction(); (err != nil) != tt.wrong {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
