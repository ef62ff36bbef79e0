package assemble

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestConfigOnly: a change of a base's config adds no layer, except in version 1 of the format.
func TestConfigOnly(t *testing.T) {
	dir := makeFiles(t, smallStore(map[string]string{"low/etc/motd": "hello", "sub/": ""}))
	makeBase(t, dir, "{name: base, copyToRoot: [low]}")
	const base = "name: a\nfromImage: base.tar\nconfig: {Env: [A=1]}\n"
	for _, tt := range []struct {
		more   string
		layers []string
	}{
		{"", []string{"base"}},
		{"layering: single\n", []string{"base"}},
		{"layerFormat: 1\n", []string{"base", "tree"}},
		{"layerFormat: 1\nlayering: single\n", []string{"base", "tree"}},
		{"copyToRoot: [{source: sub, target: /etc}]\n", []string{"base"}}, // the base has it
		{"copyToRoot: [{source: sub, target: /opt}]\n", []string{"base", "tree"}},
		{"copyToRoot: [{source: sub, target: /etc, mode: 0700}]\n", []string{"base", "tree"}},
		{"copyToRoot: [low]\n", []string{"base", "tree"}},
		{"perms: [{path: /, mode: 0700}]\n", []string{"base", "tree"}},
		{"layers: [{copyToRoot: [low]}]\n", []string{"base", "tree"}},
		{"contents: [" + libcPath + "]\nclosureRoots: image\nincludeStorePaths: false\n", []string{"base", "tree"}},
		{"config: {Env: [A=" + libcPath + "]}\n", []string{"base", "store " + libcPath}},
	} {
		text := base + tt.more
		if strings.HasPrefix(tt.more, "config:") {
			text = "name: a\nfromImage: base.tar\n" + tt.more
		}
		t.Run(tt.more, func(t *testing.T) { wantPlan(t, mustBuild(t, dir, text), tt.layers...) })
	}
	// What store layers do to the directories of a store is undone by the top layer.
	makeBase(t, dir, "{name: base, copyToRoot: [{source: low, target: /nix/store}], perms: [{path: /nix/store, mode: 01775, gid: 30000}]}")
	r := mustBuild(t, dir, "name: a\nfromImage: base.tar\nconfig: {Env: [A="+libcPath+"]}\n")
	wantPlan(t, r, "base", "store "+libcPath, "tree")
	wantLayer(t, r, -1, "0755 0:0 ./", "0755 0:0 ./nix/", "1775 0:30000 ./nix/store/")
	// Without a base there is a layer, whatever is in it.
	wantPlan(t, mustBuild(t, dir, "name: a\n"), "tree")
}

// TestHardLinks: names of a file that a tarball states are links to the first, if all that a tar
// says of them is alike.
func TestHardLinks(t *testing.T) {
	dir := makeFiles(t, map[string]string{"dir/b": "text", "root/": ""})
	for _, name := range []string{"a", "c/d"} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(dir, "dir", name)), 0o755), os.Link(filepath.Join(dir, "dir/b"), filepath.Join(dir, "dir", name))); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("tar", "-C", filepath.Join(dir, "dir"), "--owner=0", "--group=0", "-cf", filepath.Join(dir, "t.tar"), "c/d", "b", "a").CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
	const (
		root   = "0755 0:0 ./\n"
		copies = root + "0644 0:0 ./a = \"text\"\n0644 0:0 ./b = \"text\"\n0755 0:0 ./c/\n0644 0:0 ./c/d = \"text\""
		links  = root + "0644 0:0 ./a = \"text\"\n0644 0:0 ./b type '1' ./a\n0755 0:0 ./c/\n0644 0:0 ./c/d type '1' ./a"
	)
	for spec, want := range map[string]string{
		"copyToRoot: [t.tar]\n":                                   links,
		"copyToRoot: [t.tar]\nlayerFormat: 1\n":                   copies,
		"copyToRoot: [dir]\n":                                     copies,
		"copyToRoot: [{source: dir, hardLinks: true}]\n":          links,
		"copyToRoot: [{source: dir, hardLinks: true}, t.tar]\n":   links,
		"copyToRoot: [dir, t.tar]\n":                              copies, // the first of equal ones stays
		"copyToRoot: [t.tar]\nlayering: single\nuid: 7\ngid: 8\n": "0755 0:0 ./\n0644 7:8 ./a = \"text\"\n0644 7:8 ./b type '1' ./a\n0755 7:8 ./c/\n0644 7:8 ./c/d type '1' ./a",
		"copyToRoot: [t.tar]\nperms: [{path: /b, mode: 0600}]\n":  root + "0644 0:0 ./a = \"text\"\n0600 0:0 ./b = \"text\"\n0755 0:0 ./c/\n0644 0:0 ./c/d type '1' ./a",
		// All are compared with the first.
		"copyToRoot: [t.tar]\nperms: [{path: /a, uid: 1}]\n": root + "0644 1:0 ./a = \"text\"\n0644 0:0 ./b = \"text\"\n0755 0:0 ./c/\n0644 0:0 ./c/d = \"text\"",
		"copyToRoot: [t.tar]\nperms: [{path: \"/{a,b,c/d}\", capabilities: cap_chown+ep}]\n": root +
			"0644 0:0 ./a = \"text\" security.capability=" + capChown + "\n0644 0:0 ./b type '1' ./a security.capability=" + capChown +
			"\n0755 0:0 ./c/\n0644 0:0 ./c/d type '1' ./a security.capability=" + capChown,
		"copyToRoot: [{source: t.tar, exclude: [a]}]\n":                                                root + "0644 0:0 ./b = \"text\"\n0755 0:0 ./c/\n0644 0:0 ./c/d type '1' ./b",
		"copyToRoot: [t.tar, {source: dir/b, target: /a, mode: 0755}]\nconflicts: last\n":              root + "0755 0:0 ./a = \"text\"\n0644 0:0 ./b = \"text\"\n0755 0:0 ./c/\n0644 0:0 ./c/d type '1' ./b",
		"copyToRoot: [{source: t.tar, target: /x}]\nlayers: [{copyToRoot: [t.tar]}]\nlayering: auto\n": "0755 0:0 ./\n0755 0:0 ./x/\n0644 0:0 ./x/a = \"text\"\n0644 0:0 ./x/b type '1' ./x/a\n0755 0:0 ./x/c/\n0644 0:0 ./x/c/d type '1' ./x/a",
	} {
		t.Run(spec, func(t *testing.T) {
			wantLayer(t, mustBuild(t, dir, "name: a\n"+spec), -1, want)
		})
	}
	_, err := tryBuild(t, dir, "name: a\ncopyToRoot: [{source: t.tar, hardLinks: true}]\n", Options{})
	wantSpecError(t, err, "copyToRoot[0]", "is for directories", "t.tar")
}

// capChown is what setcap cap_chown+ep writes.
var capChown = `"\x01\x00\x00\x02\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"`
