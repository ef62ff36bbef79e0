package assemble

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/rootfs"
	"github.com/varve-image/varve/spec"
)

// TestPresetTables: a spec can ask for each preset that there is, and for no other.
func TestPresetTables(t *testing.T) {
	got := spec.PresetNames()
	slices.Sort(got)
	if want := rootfs.Names(); !slices.Equal(got, want) {
		t.Errorf("package spec has the presets %q, and package rootfs %q", got, want)
	}
}

// TestPresetsYield: the image's own files take precedence over those of a preset,
// whichever of two sources wins otherwise.
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
		got := strings.Split(listing(t, r.Image.Layers()[0]), "\n")
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

// TestPresetsAddToBase: presets add to the files of the layers below, the base and
// explicit ones, and replace nothing silently.
func TestPresetsAddToBase(t *testing.T) {
	const passwd = "root:x:0:0:root:/root:/bin/bash\nwww:x:33:33:::\n"
	files := map[string]string{
		"etc/passwd": passwd, "etc/group": "root:x:0:\n", "etc/nsswitch.conf": "own", "var/empty/": "",
		"bin": "-> usr/bin", "usr/bin/sh": "-> dash", "usr/bin/bash": "bash", "usr/bin/env": "env",
	}
	dir := makeFiles(t, map[string]string{"root/": ""})
	for name, text := range files {
		if err := makeFile(dir, "files/"+name, text); err != nil {
			t.Fatal(err)
		}
	}
	makeBase(t, dir, "name: base\ncopyToRoot: [files]\nkeepContentsDirlinks: true\n")
	for below, spec := range map[string]string{"base": "fromImage: base.tar\n", "explicit layer": "layers: [{copyToRoot: [files], keepContentsDirlinks: true}]\n"} {
		for _, policy := range []string{"error", "first", "last"} {
			t.Run(below+", conflicts: "+policy, func(t *testing.T) {
				r := mustBuild(t, dir, "name: a\nconflicts: "+policy+"\n"+spec+`presets: [{nss: {extraPasswdLines: ["app:x:5:5:::"]}}, binSh, usrBinEnv]`)
				if len(r.Warnings) > 0 {
					t.Errorf("warnings: %q", r.Warnings)
				}
				wantLayer(t, r, -1, "0755 0:0 ./", "0755 0:0 ./etc/", `0644 0:0 ./etc/group = "root:x:0:\nnobody:x:65534:\n"`,
					`0644 0:0 ./etc/passwd = "root:x:0:0:root:/root:/bin/bash\nwww:x:33:33:::\napp:x:5:5:::\nnobody:x:65534:65534:nobody:/var/empty:/bin/sh\n"`)
			})
		}
	}
	_, err := tryBuild(t, dir, "name: a\nfromImage: base.tar\npresets: [{nss: {extraPasswdLines: [\"www:x:5:5:::\"]}}]", Options{})
	wantSpecError(t, err, "presets[0]: nss", `a lower layer has a "www" already`)
	r := mustBuild(t, dir, "name: a\nfromImage: base.tar\npresets: [{binSh: bash}, {usrBinEnv: /bin/busybox}]")
	if len(r.Warnings) != 2 || !strings.HasPrefix(r.Warnings[0].Error(), "preset binSh: /bin/sh of the layers below is replaced") || !strings.HasPrefix(r.Warnings[1].Error(), "preset usrBinEnv: /usr/bin/env of") {
		t.Errorf("warnings: %q", r.Warnings)
	}
	wantLayer(t, r, -1, "0755 0:0 ./", "0755 0:0 ./usr/", "0755 0:0 ./usr/bin/", "0777 0:0 ./usr/bin/env -> /bin/busybox", "0777 0:0 ./usr/bin/sh -> bash")
}

// TestPresetsBlameTheBase: a base with something odd instead of a list is not the
// spec's fault.
func TestPresetsBlameTheBase(t *testing.T) {
	dir := makeFiles(t, map[string]string{"root/": "", "files/etc/passwd/": ""})
	makeBase(t, dir, "name: base\ncopyToRoot: [files]\n")
	_, err := tryBuild(t, dir, "name: a\nfromImage: base.tar\npresets: [nss]\n", Options{})
	var bad *SpecError
	if err == nil || errors.As(err, &bad) || !strings.Contains(err.Error(), "presets[0]: nss: preset nss: add to /etc/passwd of a lower layer: it is a directory") {
		t.Errorf("the error is %v", err)
	}
}
