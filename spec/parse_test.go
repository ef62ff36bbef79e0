package spec

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/varve-image/varve/image/ordjson"
)

func ptr[T any](v T) *T { return &v }

// fullSpec is the spec in testdata/full.yaml, read with Dir /work.
func fullSpec() *Spec {
	return &Spec{
		Name:     "registry.example:5000/acme/hello",
		Tag:      "1.10",
		Contents: []string{"/nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-app-1.0", "/src/image/extra"},
		CopyToRoot: []Copy{
			{Source: "/src/image/rootfs", Target: "/"},
			{
				Source: "/src/bin/hello", Target: "/usr/bin/", Mode: ptr[uint32](0o755),
				Owner: &Owner{UID: 1000, GID: 100}, Exclude: []string{"**/*.o", ".git"},
			},
		},
		KeepContentsDirlinks: true,
		Closure:              "/src/image/graph.json",
		StoreDir:             "/nix/store",
		MaxLayers:            20,
		Inherit:              InheritAll, Layering: Popularity, LayerFormat: 2, ClosureRoots: RootsContents,
		Layers: []Group{
			{Contents: []string{"/nix/store/bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb-libc-2.39"}},
			{
				CopyToRoot: []Copy{{Source: "/src/image/conf", Target: "/"}}, KeepContentsDirlinks: true,
				Perms: []PermRule{{Path: "/etc/**", Mode: ptr[uint32](0o644), UID: ptr[uint32](1), GID: ptr[uint32](2)}},
			},
		},
		Presets: []Preset{
			{Name: "tmp"},
			{Name: "caCertificates", Path: "/src/image/ca.pem"},
			{Name: "binSh", Path: "/nix/store/cccccccccccccccccccccccccccccccc-bash-5.2/bin/bash"},
			{
				Name:             "nss",
				ExtraPasswdLines: []string{"app:x:1000:100::/home/app:/bin/sh"}, ExtraGroupLines: []string{"app:x:100:"},
			},
		},
		ExtraCommands: "mkdir a\nchmod 0700 a\n", FakeRootCommands: "chown 1 a", EnableFakechroot: true, RunAsRoot: "useradd app",
		Shell: "/bin/dash", Path: []string{"/opt/bin", "/bin"}, Isolation: VM, Network: NetworkHost, DiskSize: 2048, BuildVMMemorySize: 1024,
		Perms:        []PermRule{{Path: "/usr/bin/*", Capabilities: "cap_net_bind_service+ep"}},
		Conflicts:    ConflictsFirst,
		Architecture: "arm64",
		OS:           "linux",
		Created:      &Time{Seconds: 1709200800},
		MTime:        315532800,
		TreeMTime:    315532800,
		UID:          1000,
		GID:          4294967294,
		Uname:        "app",
		Gname:        "users",
		Compressor:   "zstd:19",
		Annotations:  []KeyValue{{"org.a", "true"}, {"org.b", "1.10"}},
		Labels:       []KeyValue{{"a", "2"}, {"version", "0755"}},
		local: map[string]string{
			"/src/image/extra": "./extra", "/src/image/rootfs": "./rootfs", "/src/bin/hello": "../bin/hello",
			"/src/image/graph.json": "graph.json", "/src/image/conf": "./conf", "/src/image/ca.pem": "ca.pem",
		},
	}
}

const fullConfig = `{
    "Zeta": {
        "b": 1,
        "a": [
            1.5,
            null,
            true,
            "x"
        ]
    },
    "Env": [
        "PATH=/bin",
        "EMPTY="
    ],
    "Cmd": [
        "/bin/hello",
        "--port=80"
    ],
    "User": "1000:100",
    "ExposedPorts": {
        "8080/tcp": {}
    },
    "Entrypoint": null,
    "Labels": {
        "z": "1",
        "a": "2",
        "version": "0755"
    },
    "Healthcheck": {
        "Test": [
            "NONE"
        ],
        "Interval": 30000000000
    }
}`

func configText(t *testing.T, s *Spec) string {
	t.Helper()
	b, err := ordjson.Marshal(s.Config)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestParseEverything(t *testing.T) {
	s, err := ParseFile("testdata/full.yaml", Options{Dir: "/src/image"})
	if err != nil {
		t.Fatal(err)
	}
	if got := configText(t, s); got != fullConfig {
		t.Errorf("config is\n%s\nwant\n%s", got, fullConfig)
	}
	s.Config = nil
	if want := fullSpec(); !reflect.DeepEqual(s, want) {
		t.Errorf("got\n%+v\nwant\n%+v", s, want)
	}
	if !s.Local("/src/image/extra") || s.Local(s.Contents[0]) {
		t.Error("Local is true of an absolute path, or false of a relative one")
	}
}

func TestDefaults(t *testing.T) {
	s, err := Parse(strings.NewReader("name: a\nconfig:\ntag: ~\n"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := &Spec{
		Name: "a", StoreDir: "/nix/store", IncludeStorePaths: true, MaxLayers: 100, Inherit: InheritAll, Layering: Stable, LayerFormat: 2, ClosureRoots: RootsContents,
		Conflicts: ConflictsError, Config: &ordjson.Object{}, OS: "linux", MTime: 1, TreeMTime: 1, Uname: "root", Gname: "root",
		Path: []string{"/usr/sbin", "/usr/bin", "/sbin", "/bin"}, Isolation: UserNS, Network: NetworkNone, DiskSize: 1024, BuildVMMemorySize: 512,
		local: map[string]string{},
	}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("got %+v, want %+v", s, want)
	}
}

// goodSpecs are accepted; what they show is their name.
func goodSpecs() map[string]string {
	return map[string]string{
		"minimal":         "name: a",
		"JSON":            `{"name": "a", "created": "now"}`,
		"pretty JSON":     "{\n  \"name\": \"a\",\n  \"config\": {\n    \"Cmd\": [\n      \"/a\"\n    ]\n  }\n}\n",
		"tabbed JSON":     "{\n\t\"name\": \"a\",\n\t\"config\": {\n\t\t\"Cmd\": [\n\t\t\t\"/a\"\n\t\t]\n\t}\n}\n",
		"byte order mark": "\ufeff{\"name\": \"a\"}",
		"CRLF":            "name: a\r\ntag: b\r\n",
		"flow YAML":       "{name: a, tag: b,}",
		"explicit start":  "---\nname: a\n...\n",
		"nulls":           "{name: a, tag: null, contents: null, copyToRoot: null, layers: null, presets: null, perms: null, config: null, uid: null, created: null, labels: null, compressor: null, keepContentsDirlinks: null}",
		"one for a list":  "{name: a, contents: /a, copyToRoot: b, presets: tmp}",
		"inner nulls":     "{name: a, copyToRoot: [{source: b, target: null, mode: null, owner: null, exclude: null}], perms: [{path: x, mode: 1, uid: null}], presets: [{nss: null}, {tmp: null}, {caCertificates: null}]}",
		"dockerTools' defaults": `{"name": "a", "fromImage": null, "fromImageName": null, "fromImageTag": null, "runAsRoot": null,
			"extraCommands": "", "fakeRootCommands": "", "enableFakechroot": false, "includeNixDB": false, "diskSize": 1024,
			"buildVMMemorySize": 512, "layeringPipeline": null, "tag": null, "keepContentsDirlinks": false, "maxLayers": 100,
			"uid": 0, "gid": 0, "uname": "root", "gname": "root", "mtime": "1970-01-01T00:00:01Z", "created": "1970-01-01T00:00:01Z",
			"includeStorePaths": true, "config": {}, "contents": [], "architecture": "amd64", "compressor": "gz", "copyToRoot": null}`,
		"pipeline":           `{"name": "a", "layeringPipeline": [["split_paths", [{"children_of": "/nix/store/x"}]], ["over", "main", ["limit_layers", 3]]]}`,
		"pipeline in a file": "name: a\nlayeringPipeline: ./p.json",
		"numbers as strings": `{"name": "a", "uid": "1000", "gid": "0", "maxLayers": "5"}`,
		"modes":              `{name: a, perms: [{path: a, mode: 0755}, {path: a, mode: "4755"}, {path: a, mode: 0o7777}, {path: a, mode: 0}, {path: a, mode: "0o644"}]}`,
		"owners":             `{name: a, copyToRoot: [{source: a, owner: 5}, {source: a, owner: 1000:100}, {source: a, owner: "4294967294:0"}, {source: a, owner: keep}]}`,
		"label scalars":      "{name: a, labels: {a: 1.10, b: true, c: 0x10, d: 2024-02-29, 5: x}, annotations: {a: ''}}",
		"owners by name":     `{name: a, copyToRoot: [{source: a, owner: root}, {source: a, owner: "root:5"}, {source: a, owner: "5:root"}, {source: a, owner: "_a.b-c$:d"}], perms: [{path: a, owner: a}]}`,
		"files":              `{name: a, remove: /a, directories: /b, symlinks: {/c: d}, users: e, groups: [{name: f, gid: "5", members: g}], layers: [{remove: [h]}, {users: [{name: i, uid: 1}]}]}`,
		"files that are not": `{name: a, remove: [], directories: null, symlinks: {}, users: [], groups: null, copyToRoot: [{content: "", target: /a, source: null}]}`,
		"both labels":        "{name: a, labels: {a: x}, config: {Labels: {a: x}}}",
		"config's null":      "{name: a, config: {Env: null, Cmd: null, Volumes: {/data: null}, stopTimeout: 5, tty: true}}",
		"unknown config":     "{name: a, config: {myKey: {MyKey: 1}, mykey: 1e5}}",
		"name in a registry": "name: '[::1]:5000/a/b'",
	}
}

func TestParseGood(t *testing.T) {
	for name, in := range goodSpecs() {
		if _, err := Parse(strings.NewReader(in), Options{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestScalars(t *testing.T) {
	at := func(in string) (*Spec, error) {
		return Parse(strings.NewReader("{name: a, "+in+"}"), Options{Dir: "/src"})
	}
	for _, tt := range []struct {
		in   string
		get  func(*Spec) any
		want any
	}{
		{"mtime: 1970-01-01", func(s *Spec) any { return s.MTime }, int64(0)},
		{"mtime: '@0'", func(s *Spec) any { return s.MTime }, int64(0)},
		{"mtime: '@253402300799'", func(s *Spec) any { return s.MTime }, int64(MaxTime)},
		{"treeMtime: 1970-01-01", func(s *Spec) any { return [2]int64{s.MTime, s.TreeMTime} }, [2]int64{1, 0}},
		{"mtime: '@5'", func(s *Spec) any { return s.TreeMTime }, int64(5)},
		{"treeMtime: '@6', mtime: '@5'", func(s *Spec) any { return [2]int64{s.MTime, s.TreeMTime} }, [2]int64{5, 6}},
		{"mtime: 9999-12-31T23:59:59Z", func(s *Spec) any { return s.MTime }, int64(MaxTime)},
		{"created: 1970-01-01T00:00:01Z", func(s *Spec) any { return *s.Created }, Time{Seconds: 1}},
		{"created: '20230102'", func(s *Spec) any { return *s.Created }, Time{Seconds: 1672617600}},
		{"created: '20230102123456'", func(s *Spec) any { return *s.Created }, Time{Seconds: 1672662896}},
		{"created: 2023-01-02 12:34:56", func(s *Spec) any { return *s.Created }, Time{Seconds: 1672662896}},
		{"created: 2023-01-02T12:34:56", func(s *Spec) any { return *s.Created }, Time{Seconds: 1672662896}},
		{"created: 2023-01-02 12:34:56 -0130", func(s *Spec) any { return *s.Created }, Time{Seconds: 1672668296}},
		{"created: 2023-01-02 12:34:56 +0130", func(s *Spec) any { return *s.Created }, Time{Seconds: 1672657496}},
		{"created: 2023-01-02T12:34:56-01:30", func(s *Spec) any { return *s.Created }, Time{Seconds: 1672668296}},
		{"config: {Labels: {a: null, b: c}}", func(s *Spec) any { v, _ := s.Config.Get("Labels"); data, _ := ordjson.Marshal(v); return string(data) }, "{\n    \"a\": null,\n    \"b\": \"c\"\n}"},
		{"created: now", func(s *Spec) any { return *s.Created }, Time{Now: true}},
		{"compressor: none", func(s *Spec) any { return s.Compressor }, "none"},
		{"compressor: gz:9", func(s *Spec) any { return s.Compressor }, "gz:9"},
		{"compressor: zstd:22", func(s *Spec) any { return s.Compressor }, "zstd:22"},
		{"perms: [{path: a, mode: 755}]", func(s *Spec) any { return *s.Perms[0].Mode }, uint32(0o755)},
		{"perms: [{path: a, mode: 0755}]", func(s *Spec) any { return *s.Perms[0].Mode }, uint32(0o755)},
		{"perms: [{path: a, mode: '0o1777'}]", func(s *Spec) any { return *s.Perms[0].Mode }, uint32(0o1777)},
		{"copyToRoot: [{source: a, owner: 7}]", func(s *Spec) any { return *s.CopyToRoot[0].Owner }, Owner{UID: 7, GID: 7}},
		{"copyToRoot: [{source: a, owner: keep}]", func(s *Spec) any { return *s.CopyToRoot[0].Owner }, Owner{Keep: true}},
		{"copyToRoot: [{source: a, target: a//b/./c}]", func(s *Spec) any { return s.CopyToRoot[0].Target }, "/a/b/c"},
		{"copyToRoot: [{source: a, target: /etc/.}]", func(s *Spec) any { return s.CopyToRoot[0].Target }, "/etc/"},
		{"copyToRoot: [{source: a, target: ./}]", func(s *Spec) any { return s.CopyToRoot[0].Target }, "/"},
		{"copyToRoot: ../x/", func(s *Spec) any { return s.CopyToRoot[0].Source }, "/x"},
	} {
		s, err := at(tt.in)
		if err != nil {
			t.Errorf("%s: %v", tt.in, err)
		} else if got := tt.get(s); got != tt.want {
			t.Errorf("%s: got %#v, want %#v", tt.in, got, tt.want)
		}
	}
}

func TestJSONStringsAndNumbers(t *testing.T) {
	in := "{\n\t\"name\": \"a\",\n\t\"config\": {\"User\": \"\\ud83d\\ude00\\u00e9\\/\", \"n\": [123456789012345678901234567890, 1.50, -0, 1E400]}\n}"
	s, err := Parse(strings.NewReader(in), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if user, _ := s.Config.Get("User"); user != "😀é/" {
		t.Errorf("User is %q", user)
	}
	if text := configText(t, s); !strings.Contains(text, "123456789012345678901234567890") || !strings.Contains(text, "1E400") {
		t.Errorf("a number changed: %s", text)
	}
}

func TestParseFile(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "image.yaml")
	if err := os.WriteFile(name, []byte("name: a\ncontents: b\nbad: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := ParseFile(name, Options{})
	if want := name + ":3:1: bad: unknown field"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if err := os.WriteFile(name, []byte("name: a\ncontents: b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := ParseFile(name, Options{}); err != nil || s.Contents[0] != filepath.Join(dir, "b") {
		t.Errorf("got %v, %v", s, err)
	}
	if _, err := ParseFile(filepath.Join(dir, "none"), Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent file: %v", err)
	}
}

// endless returns pattern again and again and counts what is read.
type endless struct {
	pattern string
	read    int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.pattern)
	e.read += n
	return n, nil
}

func TestParseIsLimited(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   io.Reader
		want string
	}{
		{"endless", &endless{pattern: strings.Repeat("#\n", 1000)}, "spec: larger than 8 MiB: that is not a spec"},
		{"many values", strings.NewReader("{a: [" + strings.Repeat("[],", 1<<20) + "]}"), "spec: more than 500000 lines and values"},
		{"deep flow", strings.NewReader("name: " + strings.Repeat("[", 10000) + strings.Repeat("]", 10000)), "deep"},
		{"deep block", strings.NewReader(strings.Repeat("- ", 10000) + "a"), "nested deeper than 100 levels"},
		{"deeper", strings.NewReader(strings.Repeat("{a: ", 100000)), "max depth"},
		{"deep JSON", strings.NewReader(`{"a":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + "}"), "nested deeper than 100 levels"},
		{"deeper JSON", strings.NewReader(strings.Repeat(`{"a":`, 90000) + "1" + strings.Repeat("}", 90000)), "max depth"},
		{"unclosed JSON", strings.NewReader(strings.Repeat(`{"a":`, 1000)), "bad YAML"},
	} {
		_, err := Parse(tt.in, Options{})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want an error with %q", tt.name, err, tt.want)
		}
		if e, ok := tt.in.(*endless); ok && e.read > MaxSize+64<<10 {
			t.Errorf("%s: read %d bytes", tt.name, e.read)
		}
	}
}

func TestDeepestConfig(t *testing.T) {
	// The config's own object and the spec's are two of the levels.
	n := MaxDepth - 2
	in := "{name: a, config: {x: " + strings.Repeat("[", n) + strings.Repeat("]", n) + "}}"
	s, err := Parse(strings.NewReader(in), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ordjson.Parse([]byte(configText(t, s))); err != nil {
		t.Errorf("ordjson cannot read the config: %v", err)
	}
}

func TestReadError(t *testing.T) {
	broken := errors.New("broken")
	_, err := Parse(io.MultiReader(strings.NewReader("name"), errReader{broken}), Options{File: "f"})
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if _, ok := errors.AsType[Errors](err); ok {
		t.Error("a read error is given out for a spec error")
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// TestDurations: times with units become the numbers that engines read.
func TestDurations(t *testing.T) {
	s, err := Parse(strings.NewReader(`{name: a, config: {StopTimeout: 1m30s, Healthcheck: {Test: [CMD, x], Interval: 30s, Timeout: 1.5s, StartPeriod: 7, StartInterval: null, Retries: 3}}}`), Options{})
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"StopTimeout":90,"Healthcheck":{"Test":["CMD","x"],"Interval":30000000000,"Timeout":1500000000,"StartPeriod":7,"StartInterval":null,"Retries":3}}`
	if got := strings.Join(strings.Fields(configText(t, s)), ""); got != want {
		t.Errorf("the config is %s, want %s", got, want)
	}
}
