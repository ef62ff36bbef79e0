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

// TestPresetsThroughLinks: what a preset adds to a directory that the image's
// own files have as a symlink goes to where that leads, under any policy.
func TestPresetsThroughLinks(t *testing.T) {
	dir := makeFiles(t, map[string]string{"own/bin": "-> usr/bin", "own/usr/bin/bash": "bash", "own/usr/bin/env": "env", "root/": ""})
	for _, policy := range []string{"error", "first", "last"} {
		r := mustBuild(t, dir, "name: a\npresets: [binSh, {usrBinEnv: busybox}]\ncopyToRoot: [{source: own, exclude: [usr/bin/env]}]\nkeepContentsDirlinks: true\nconflicts: "+policy)
		wantLayer(t, r, 0, "0755 0:0 ./", "0777 0:0 ./bin -> usr/bin", "0755 0:0 ./usr/", "0755 0:0 ./usr/bin/",
			`0644 0:0 ./usr/bin/bash = "bash"`, "0777 0:0 ./usr/bin/env -> busybox", "0777 0:0 ./usr/bin/sh -> /bin/bash")
	}
}
