package dockerarchive

import (
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// TestManifestRefuses: a manifest and a config that do not fit each other.
func TestManifestRefuses(t *testing.T) {
	ids := func(contents ...string) string {
		var list []string
		for _, c := range contents {
			list = append(list, fmt.Sprintf("%q", digest.FromString(c)))
		}
		return `{"rootfs": {"diff_ids": [` + strings.Join(list, ", ") + `]}}`
	}
	for name, tt := range map[string]struct{ member, content, want string }{
		"more diff_ids":   {"c.json", ids("one", "two"), "2 diff_ids for 1 layers"},
		"fewer diff_ids":  {"c.json", ids(), "0 diff_ids for 1 layers"},
		"no layers":       {"manifest.json", `[{"Config": "c.json", "Layers": []}]`, "1 diff_ids for 0 layers"},
		"layers left out": {"manifest.json", `[{"Config": "c.json"}]`, "1 diff_ids for 0 layers"},
		"empty config":    {"manifest.json", `[{"Config": "", "Layers": ["l0/layer.tar"]}]`, "image 0: Config: not given"},
		"no config":       {"manifest.json", `[{"Layers": ["l0/layer.tar"]}]`, "image 0: Config: not given"},
		"null config":     {"manifest.json", `[{"Config": null, "Layers": ["l0/layer.tar"]}]`, "image 0: Config: not given"},
		"of the second":   {"manifest.json", `[{"Config": "c.json", "Layers": ["l0/layer.tar"]}, {"Config": "", "Layers": []}]`, "image 1: Config: not given"},
		"config of layer": {"manifest.json", `[{"Config": "l0/layer.tar", "Layers": ["l0/layer.tar"]}]`, `config "l0/layer.tar"`},
	} {
		data := makeTar(with(sound("one"), tt.member, setContent(tt.content))...)
		if got, err := readAll(t, data); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %q, %v; want an error with %q", name, got, err, tt.want)
		}
	}
}
