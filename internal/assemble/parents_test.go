package assemble

import (
	"archive/tar"
	"os"
	"path/filepath"
	"testing"
)

// TestParentsAreAdopted: a directory that a layer has only to hold something keeps
// its mode, owner and attributes of the layers below.
func TestParentsAreAdopted(t *testing.T) {
	const (
		low     = "copyToRoot: [low.tar], perms: [{path: /etc, mode: 0700, uid: 5, gid: 6}, {path: /, mode: 0751, uid: 7, gid: 8}]"
		implied = "copyToRoot: [{source: file, target: /etc/x}, {source: file, target: /srv/x}]"
		whole   = "copyToRoot: [{source: own, target: /etc, mode: 0711, owner: '9:9'}]"
		links   = "contents: [" + appPath + "]\nmaxLayers: 100\n"
	)
	adopted := []string{"0751 7:8 ./", `0700 5:6 ./etc/ user.note="kept"`}
	below := map[string]string{ // what makes low the layers below
		"an explicit layer": "layers: [{" + low + "}]\n",
		"two of them":       "layers: [{" + low + "}, {copyToRoot: [{source: file, target: /etc/between}]}]\n",
		"a base":            "fromImage: base.tar\n",
		"a base and a layer": "fromImage: base.tar\n" +
			"layers: [{copyToRoot: [{source: file, target: /etc/between}]}]\n",
	}
	for name, below := range below {
		t.Run(name, func(t *testing.T) {
			dir := makeFiles(t, map[string]string{
				"file": "text", "own/y": "y", "root" + appPath + "/etc/app.conf": "app",
			})
			makeLow(t, filepath.Join(dir, "low.tar"))
			makeBase(t, dir, "{name: base, "+low+"}")
			build := func(text string) *Result { return mustBuild(t, dir, "name: a\n"+below+text) }
			wantLayer(t, build(implied), -1, append(adopted,
				`0644 0:0 ./etc/x = "text"`, "0755 0:0 ./srv/", `0644 0:0 ./srv/x = "text"`)...)
			wantLayer(t, build(links), -1, append(adopted, "0777 0:0 ./etc/app.conf -> "+appPath+"/etc/app.conf")...)
		})
	}
	t.Run("through symlinks", func(t *testing.T) {
		dir := makeFiles(t, map[string]string{
			"root/lib": "-> usr/lib", "root/usr/lib/low": "low", "root/far": "-> /lib/../lib", "add/lib/x": "x", "add/far/sub/y": "y", "more/lib/sub/z": "z",
		})
		for _, d := range []string{"add/lib", "add/far", "add/far/sub", "more/lib", "more/lib/sub"} {
			if err := os.Chmod(filepath.Join(dir, d), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Rename(filepath.Join(dir, "root"), filepath.Join(dir, "low")); err != nil {
			t.Fatal(err)
		}
		makeBase(t, dir, "{name: base, keepContentsDirlinks: true, copyToRoot: [low], perms: [{path: /usr/lib, mode: 0711, uid: 5}]}")
		wantLayer(t, mustBuild(t, dir, "{name: a, fromImage: base.tar, copyToRoot: [add]}"), -1,
			"0755 0:0 ./", "0755 0:0 ./usr/", "0711 5:0 ./usr/lib/", "0700 0:0 ./usr/lib/sub/", `0644 0:0 ./usr/lib/sub/y = "y"`, `0644 0:0 ./usr/lib/x = "x"`)
		wantLayer(t, mustBuild(t, dir, "{name: a, fromImage: base.tar, layers: [{copyToRoot: [add], perms: [{path: /far/sub, mode: 0750}]}], copyToRoot: [more]}"), -1,
			"0755 0:0 ./", "0755 0:0 ./usr/", "0711 5:0 ./usr/lib/", "0750 0:0 ./usr/lib/sub/", `0644 0:0 ./usr/lib/sub/z = "z"`)
	})
	t.Run("its own are kept", func(t *testing.T) {
		dir := makeFiles(t, map[string]string{"own/y": "y"})
		makeLow(t, filepath.Join(dir, "low.tar"))
		makeBase(t, dir, "{name: base, "+low+"}")
		wantLayer(t, mustBuild(t, dir, "name: a\nfromImage: base.tar\n"+whole), -1,
			"0751 7:8 ./", "0711 9:9 ./etc/", `0644 9:9 ./etc/y = "y"`)
		_, err := tryBuild(t, dir, "name: a\nlayers: [{"+low+"}]\n"+whole, Options{})
		wantSpecError(t, err, "conflicts", `"etc"`, "low.tar", "own")
	})
}

// makeLow makes a tarball with a directory that has an extended attribute,
// which not every file system could hold.
func makeLow(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := tar.NewWriter(f)
	for _, h := range []*tar.Header{
		{Typeflag: tar.TypeDir, Name: "etc/", Mode: 0o755, PAXRecords: map[string]string{"SCHILY.xattr.user.note": "kept"}},
		{Typeflag: tar.TypeReg, Name: "etc/low", Mode: 0o644},
	} {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}
