package assemble

import "testing"

// TestSingleOnBase: of the closure, the one layer has what the base lacks: no file
// again, no directory without something new; and directories that it has to repeat
// are as in the base.
func TestSingleOnBase(t *testing.T) {
	dir := makeFiles(t, smallStore(map[string]string{
		"add/etc/app": appPath, "own/etc/own": "x",
		"half" + bashPath + "/extra": "x", "half" + libcPath + "/lib/libc.so": "libc",
	}))
	single := func(base string) *Result {
		t.Helper()
		makeBase(t, dir, "{name: base, "+base+"}")
		return mustBuild(t, dir, "{name: a, fromImage: base.tar, layering: single, copyToRoot: [add]}")
	}
	app := []string{"0755 0:0 ./", "0755 0:0 ./etc/", `0644 0:0 ./etc/app = "` + appPath + `"`}
	// The base has nothing of it.
	wantLayer(t, single("copyToRoot: [own]"), -1, append(app, "0755 0:0 ./nix/", "0755 0:0 ./nix/store/",
		"0755 0:0 ."+appPath+"/", "0755 0:0 ."+appPath+"/bin/",
		"0644 0:0 ."+appPath+`/bin/app = "#!`+bashPath+`/bin/bash\n`+libcPath+`\n"`,
		"0755 0:0 ."+bashPath+"/", "0755 0:0 ."+bashPath+"/bin/", "0644 0:0 ."+bashPath+`/bin/bash = "needs `+libcPath+`\n"`,
		"0755 0:0 ."+libcPath+"/", "0755 0:0 ."+libcPath+"/lib/", "0644 0:0 ."+libcPath+`/lib/libc.so = "libc"`)...)
	// All of it, in one layer or in several.
	for _, layering := range []string{"single", "popularity"} {
		wantLayer(t, single("layering: "+layering+", copyToRoot: [{source: add, target: /old}]"), -1, app...)
	}
	// Part of it, in directories of other modes.
	wantLayer(t, single("includeStorePaths: false, copyToRoot: [half], perms: [{path: /nix/store, mode: 01775, gid: 30000}, {path: "+bashPath+", mode: 0511, uid: 7}]"), -1,
		append(app, "0755 0:0 ./nix/", "1775 0:30000 ./nix/store/",
			"0755 0:0 ."+appPath+"/", "0755 0:0 ."+appPath+"/bin/",
			"0644 0:0 ."+appPath+`/bin/app = "#!`+bashPath+`/bin/bash\n`+libcPath+`\n"`,
			"0511 7:0 ."+bashPath+"/", "0755 0:0 ."+bashPath+"/bin/", "0644 0:0 ."+bashPath+`/bin/bash = "needs `+libcPath+`\n"`)...)
}
