package build

import (
	"slices"
	"strings"
	"testing"
)

// TestPresetsYield: files of the image's own are stronger than those of a
// preset, whichever of two sources wins otherwise.
func TestPresetsYield(t *testing.T) {
	const own = `0644 0:0 ./etc/passwd = "own"`
	dir := makeFiles(t, map[string]string{"own/etc/passwd": "own", "other/etc/passwd": "other", "root/": ""})
	_, err := tryBuild(t, dir, "name: a\npresets: [nss]\ncopyToRoot: [own]\n", Options{})
	wantSpecError(t, err, "conflicts", `"etc/passwd"`, "own/etc/passwd", "preset nss", "conflicts: first")
	for spec, want := range map[string]string{
		"copyToRoot: [own]\nconflicts: first":        own,
		"copyToRoot: [own]\nconflicts: last":         own,
		"copyToRoot: [own, other]\nconflicts: first": own,
		"copyToRoot: [other, own]\nconflicts: last":  own,
	} {
		r := mustBuild(t, dir, "name: a\npresets: [nss]\n"+spec)
		got := strings.Split(listing(t, r.Image.Layers[0]), "\n")
		if !slices.Contains(got, want) {
			t.Errorf("with %q the layer is\n%s\nwant %s in it", spec, strings.Join(got, "\n"), want)
		}
		// The preset's other files are there.
		if !slices.Contains(got, `0644 0:0 ./etc/nsswitch.conf = "hosts: files dns\n"`) {
			t.Errorf("with %q the layer has no nsswitch.conf of the preset", spec)
		}
	}
}
