package spec

import (
	"io"
	"reflect"
	"strings"
	"testing"
)

// parseWith reads in, or nothing if it is empty, with settings from the
// folder /cwd.
func parseWith(in string, settings ...Setting) (*Spec, error) {
	var r io.Reader
	if in != "" {
		r = strings.NewReader(in)
	}
	return Parse(r, Options{Dir: "/src", Settings: settings, SettingsDir: "/cwd"})
}

func TestSettingsAlone(t *testing.T) {
	s, err := parseWith("",
		Setting{"name", "--name", []string{"Hello"}},
		Setting{"tag", "--tag", []string{"1.0"}},
		Setting{"copyToRoot", "--copy", []string{"rootfs", "./bin/a:/usr/bin/", "/x:y:z"}},
		Setting{"contents", "--content", []string{"/nix/store/a"}},
		Setting{"perms", "--perm", []string{"/bin/**:0755", "/data::1:2", "/t:1777:0:0"}},
		Setting{"presets", "--preset", []string{"tmp", "caCertificates=ca.pem"}},
		Setting{"maxLayers", "--max-layers", []string{"7"}},
		Setting{"keepContentsDirlinks", "--keep-contents-dirlinks", []string{"true"}},
		Setting{"includeStorePaths", "--include-store-paths", []string{"false"}},
		Setting{"uid", "--uid", []string{"5"}},
		Setting{"created", "--created", []string{"now"}},
		Setting{"mtime", "--mtime", []string{"@9"}},
		Setting{"compressor", "--compressor", []string{"zstd"}},
		Setting{"config.Cmd", "--cmd", []string{"/bin/a", "-v"}},
		Setting{"config.Env", "--env", []string{"A=1", "B=2", "A=3"}},
		Setting{"config.User", "--user", []string{"1000:1000"}},
		Setting{"config.ExposedPorts", "--expose", []string{"80/tcp", "81"}},
		Setting{"config.StopTimeout", "--stop-timeout", []string{"5"}},
		Setting{"config.Tty", "--tty", []string{"true"}},
		Setting{"labels", "--label", []string{"k=v=w", "e="}},
		Setting{"annotations", "--annotation", []string{"a=b"}},
	)
	if err != nil {
		t.Fatal(err)
	}
	const config = `{"Cmd":["/bin/a","-v"],"Env":["A=3","B=2"],"User":"1000:1000",` +
		`"ExposedPorts":{"80/tcp":{},"81":{}},"StopTimeout":5,"Tty":true,"Labels":{"e":"","k":"v=w"}}`
	if got := strings.Join(strings.Fields(configText(t, s)), ""); got != config {
		t.Errorf("config is %s, want %s", got, config)
	}
	want := withDefaults()
	want.Name, want.Tag = "hello", "1.0"
	want.CopyToRoot = []Copy{
		{Source: "/cwd/rootfs", Target: "/"},
		{Source: "/cwd/bin/a", Target: "/usr/bin/"},
		{Source: "/x:y", Target: "/z"},
	}
	want.Contents = []string{"/nix/store/a"}
	want.Perms = []PermRule{
		{Path: "/bin/**", Mode: ptr[uint32](0o755)},
		{Path: "/data", UID: ptr[uint32](1), GID: ptr[uint32](2)},
		{Path: "/t", Mode: ptr[uint32](0o1777), UID: ptr[uint32](0), GID: ptr[uint32](0)},
	}
	want.Presets = []Preset{{Name: "tmp"}, {Name: "caCertificates", Path: "/cwd/ca.pem"}}
	want.MaxLayers, want.KeepContentsDirlinks, want.IncludeStorePaths, want.UID = 7, true, false, 5
	want.Created, want.MTime, want.TreeMTime, want.Compressor = &Time{Now: true}, 9, 9, "zstd"
	want.Labels = []KeyValue{{"e", ""}, {"k", "v=w"}}
	want.Annotations = []KeyValue{{"a", "b"}}
	want.local = map[string]string{"/cwd/rootfs": "rootfs", "/cwd/bin/a": "./bin/a", "/cwd/ca.pem": "ca.pem"}
	s.Config, want.Config = nil, nil
	if !reflect.DeepEqual(s, want) {
		t.Errorf("got\n%+v\nwant\n%+v", s, want)
	}
}

func TestSettingsOverride(t *testing.T) {
	const in = `
name: a
tag: b
copyToRoot: [x]
presets: [tmp]
labels: {k: old, other: o}
config:
  env: [A=1, B=2]
  cmd: [old]
  user: root
  labels: {l: old, m: n}
`
	s, err := parseWith(in,
		Setting{"tag", "--tag", []string{"c"}},
		Setting{"copyToRoot", "--copy", []string{"y"}},
		Setting{"presets", "--preset", nil},
		Setting{"labels", "--label", []string{"k=new", "l=new"}},
		Setting{"config.Env", "--env", []string{"B=3", "C=4"}},
		Setting{"config.Cmd", "--cmd", []string{"new"}},
		Setting{"config.User", "--user", nil},
	)
	if err != nil {
		t.Fatal(err)
	}
	const config = `{"Env":["A=1","B=3","C=4"],"Cmd":["new"],"User":"root","Labels":{"m":"n","k":"new","l":"new","other":"o"}}`
	if got := strings.Join(strings.Fields(configText(t, s)), ""); got != config {
		t.Errorf("config is %s, want %s", got, config)
	}
	if s.Tag != "c" || len(s.CopyToRoot) != 1 || s.CopyToRoot[0].Source != "/cwd/y" || len(s.Presets) != 0 {
		t.Errorf("got %+v", s)
	}
	if want := []KeyValue{{"k", "new"}, {"l", "new"}, {"other", "o"}}; !reflect.DeepEqual(s.Labels, want) {
		t.Errorf("labels are %v, want %v", s.Labels, want)
	}
}

func TestSettingsMend(t *testing.T) {
	s, err := parseWith("name: A:B\nmaxLayers: 900\nconfig: ~\n",
		Setting{"name", "--name", []string{"a"}},
		Setting{"maxLayers", "--max-layers", []string{"9"}},
		Setting{"config.Cmd", "--cmd", []string{"a"}})
	if err != nil || s.Name != "a" || s.MaxLayers != 9 {
		t.Errorf("got %+v, %v", s, err)
	}
}

func TestSettingsErrors(t *testing.T) {
	for _, tt := range []struct {
		in   string
		set  Setting
		want string
	}{
		{"", Setting{}, "spec has no name"},
		{"", Setting{"name", "--name", []string{"a b"}}, `--name: "a b" is not a valid image name: want lower-case letters, digits and single . _ - between them, parts divided by slashes, such as ghcr.io/acme/hello`},
		{"", Setting{"name", "--name", []string{"a\xff"}}, `--name: "a\xff" is not UTF-8`},
		{"name: a", Setting{"maxLayers", "--max-layers", []string{"x"}}, `--max-layers: got "x", want a number from 1 to 127: engines stop between 125 and 127 layers`},
		{"name: a", Setting{"config.Env", "--env", []string{"X"}}, `--env: got "X", want NAME=value`},
		{"name: a", Setting{"labels", "--label", []string{"X"}}, `--label: got "X", want KEY=VALUE`},
		{"name: a", Setting{"labels", "", []string{"=X"}}, `labels: got "=X", want KEY=VALUE`},
		{"name: a", Setting{"perms", "--perm", []string{"X"}}, `--perm: got "X", want GLOB:MODE or GLOB:MODE:OWNER`},
		{"name: a", Setting{"users", "--add-user", []string{":5"}}, `--add-user: got ":5", want NAME:UID:GID`},
		{"name: a", Setting{"users", "--add-user", []string{"a:b:c:d", "a"}}, `--add-user: got "b", want a number from 0 to 4294967294 in decimal digits` + "\n" +
			`--add-user: got "c:d", want a number from 0 to 4294967294 in decimal digits` + "\n" + `--add-user: the user "a" is given twice`},
		{"name: a", Setting{"groups", "--add-group", []string{"-x:1"}}, `--add-group: "-x" is not a valid name of a user or group: want letters, digits and . _ -, no - at the beginning, and not digits alone`},
		{"name: a", Setting{"directories", "--directory", []string{"/x:99:a:b", "/../y"}}, `--directory: got "99", want a mode in octal digits such as 0755` + "\n" + `--directory: "/../y" leads out of the image: remove the .. parts`},
		{"name: a", Setting{"symlinks", "--symlink", []string{"/a", "/b="}}, `--symlink: got "/a", want PATH=TEXT` + "\n" + "--symlink: got an empty string, want what the link leads to"},
		{"name: a", Setting{"remove", "--remove", []string{"["}}, `--remove: "[" is not a valid glob: want * ? ** [a-z] {a,b}, and \ before such a character that stands for itself`},
		{"name: a", Setting{"perms", "--perm", []string{"X:"}}, "--perm: the rule sets nothing: give mode, owner, uid, gid or capabilities"},
		{"name: a", Setting{"perms", "--perm", []string{":1"}}, "--perm: missing: the glob of the entries that the rule is for"},
		{"name: a", Setting{"copyToRoot", "--copy", []string{"a:"}}, "--copy: got an empty string, want a path in the image"},
		{"name: a", Setting{"copyToRoot", "--copy", []string{":a"}}, "--copy: got an empty string, want a path"},
		{"name: a", Setting{"copyToRoot", "--copy", []string{"a:../b"}}, `--copy: "../b" leads out of the image: remove the .. parts`},
		{"name: a", Setting{"presets", "--preset", []string{"tmp=1"}}, "--preset: preset tmp takes no argument"},
		{"name: a", Setting{"presets", "--preset", []string{"nope=1"}}, `--preset: got "nope", want nss, shadow, binSh, usrBinEnv, caCertificates or tmp`},
		{"name: a", Setting{"includeStorePaths", "--p", []string{"maybe"}}, `--p: got "maybe", want true or false`},
		{"name: a", Setting{"config.StopTimeout", "--t", []string{"x"}}, `--t: got "x", want a time in whole seconds such as "1m30s", or the number of them`},
		{"name: a", Setting{"nope", "--nope", []string{"1"}}, `--nope: unknown field "nope"`},
		{"name: a", Setting{"includeNixDB", "--include-nix-db", []string{"yes"}}, `--include-nix-db: got "yes", want true or false`},
		{"name: a", Setting{"path", "--path", []string{"bin"}}, `--path: got "bin", want absolute paths below / without .. parts`},
		{"name: a\nconfig: [x]", Setting{"config.Cmd", "--cmd", []string{"a"}}, "spec:2:9: config: got a list, want an object as in the OCI image specification"},
		{"name: a\nconfig: {Env: x}", Setting{"config.Env", "--env", []string{"A=b"}}, `spec:2:15: config.Env: got "x", want a list of strings: write ["x"]`},
		{"name: a\nlabels: x", Setting{"labels", "--label", []string{"A=b"}}, `spec:2:9: labels: got "x", want an object with strings`},
		{"name: a\nuid: -1", Setting{"gid", "--gid", []string{"-1"}}, "spec:2:6: uid: got the number -1, want a number from 0 to 4294967294 in decimal digits\n" +
			`--gid: got "-1", want a number from 0 to 4294967294 in decimal digits`},
	} {
		if tt.set.Field == "" {
			_, err := parseWith("")
			if want := `name: missing: the image's name, such as "hello"`; err == nil || err.Error() != want {
				t.Errorf("nothing at all: got %v, want %s", err, want)
			}
			continue
		}
		_, err := parseWith(tt.in, tt.set)
		if err == nil || err.Error() != tt.want {
			t.Errorf("%q with %+v:\n got %v\nwant %s", tt.in, tt.set, err, tt.want)
		}
	}
}
