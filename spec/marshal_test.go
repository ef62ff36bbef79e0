package spec

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// TestCheck: a spec that was read, written and read again is the same, and one that a program
// makes is checked like one that is read.
func TestCheck(t *testing.T) {
	for _, text := range []string{
		"name: a", "{name: a, includeStorePaths: false, contents: [/nix/store/00000000000000000000000000000000-x]}",
		"{name: a, copyToRoot: [{source: ./x, target: /y, mode: 0755, owner: '1:2', exclude: ['*.o'], ignoreFile: .dockerignore}, {source: y.tar, owner: keep}]}",
		"{name: a, copyToRoot: [{image: ./x.tar, source: usr/bin/, target: /y, owner: 5}, {image: 'docker://r.example/a:1', source: /}]}",
		"{name: a, layers: [{copyToRoot: x, perms: [{path: y, mode: 0, uid: 0, gid: 3, capabilities: cap_chown+ep}]}, {built: ./dir}]}",
		"{name: a, presets: [nss, {binSh: /bin/busybox}, {caCertificates: ./ca.pem}], layering: auto, conflicts: last, maxLayers: 3}",
		"{name: a, presets: [{nss: {extraPasswdLines: ['a:x:1:1::/:/bin/sh'], extraGroupLines: ['a:x:1:']}}]}",
		"{name: a, layeringPipeline: [[flatten], [limit_layers, 3]], closureRoots: image}", "{name: a, layering: stable, previous: layers.lock}",
		"{name: a, layering: stable, previous: auto}", "{name: a, layering: stable, previous: 'docker://r.example/a:1'}", "{name: a, layeringPipeline: ./p.json}",
		"{name: a, created: now, mtime: '@0', treeMtime: '2024-02-29', uid: 4, gid: 5, uname: u, gname: g, compressor: 'zstd:19'}",
		"{name: a, config: {Cmd: [x], Env: [A=b], odd: {b: 1.50, a: null}}, labels: {k: v}, annotations: {x: y}}",
		"{name: a, fromImage: ./base.tar, fromImageName: b, fromImageTag: '1', inherit: env, config: {Cmd: null}, architecture: arm, variant: v7}",
		"{name: a, runAsRoot: x, extraCommands: y, fakeRootCommands: z, enableFakechroot: true, shell: /bin/sh, path: '/a:/b', isolation: vm, network: host, diskSize: 9999, buildVMMemorySize: 99}",
		"{name: a, remove: ['/a/**'], directories: [/b, {path: c/, mode: 0700, owner: app}], symlinks: {/d: e, f: /g}, users: [u, {name: v, uid: 0, gid: 5, " +
			"groups: [w], comment: x, home: /y/, createHome: false, shell: /z}, {name: q, group: u}], groups: [w, {name: x, gid: 0, members: u}]}",
		"{name: a, layers: [{remove: a, directories: b, symlinks: {c: d}, users: e, groups: f}, {perms: [{path: x, owner: 'a:5'}]}]}",
		"{name: a, copyToRoot: [{content: '', target: a}, {content: 'x', target: b, owner: '5:a', mode: 0600}], perms: [{path: x, owner: 'a:b'}]}",
	} {
		t.Run(text, func(t *testing.T) {
			want, err := Parse(strings.NewReader(text), Options{})
			if err != nil {
				t.Fatal(err)
			}
			got, err := want.Check(Options{})
			if err != nil {
				t.Fatal(err)
			}
			if !same(t, got, want) {
				t.Errorf("%+v\nwant\n%+v", got, want)
			}
		})
	}
	examples, err := filepath.Glob("../examples/*/image.yaml")
	if err != nil || len(examples) == 0 {
		t.Fatal("no examples", err)
	}
	for _, name := range examples {
		if _, err := os.Stat(name); err != nil {
			t.Fatal(err)
		}
		want, err := ParseFile(name, Options{Architecture: "amd64"})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := want.Check(Options{Architecture: "amd64"}); err != nil || !same(t, got, want) {
			t.Errorf("%s: %+v\nwant\n%+v\n%v", name, got, want, err)
		}
	}
	made := New("a")
	made.CopyToRoot = []Copy{{Source: "x", Target: "../y"}}
	if _, err := made.Check(Options{}); err == nil || !strings.Contains(err.Error(), `"../y" leads out`) {
		t.Errorf("a target that leads out: %v", err)
	}
	if got, err := (&Spec{Name: "a"}).Check(Options{}); err != nil || got.OS != "linux" || got.MaxLayers != 100 || got.Config == nil {
		t.Errorf("a spec without defaults: %+v, %v", got, err)
	}
}

// same compares two specs; their configs as JSON.
func same(t *testing.T, a, b *Spec) bool {
	t.Helper()
	var texts [2][]byte
	var bare [2]Spec
	for i, s := range []*Spec{a, b} {
		var err error
		if texts[i], err = s.MarshalJSON(); err != nil {
			t.Fatal(err)
		}
		bare[i] = *s
		bare[i].Config = nil
	}
	return bytes.Equal(texts[0], texts[1]) && reflect.DeepEqual(bare[0], bare[1])
}
