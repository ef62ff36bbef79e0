package spec

import (
	"strings"
	"testing"
)

// TestVariables: what texts become, and where.
func TestVariables(t *testing.T) {
	const text = `
name: acme/${APP}
args: {APP: hello, VERSION: 1.50, UID: 7, DEEP: "${APP}$", TRUE: "true", MACHINE: arm64, DIR: sub/dir}
tag: v${VERSION}
architecture: ${MACHINE}
fromImage: base-${arch}.tar
uid: ${UID}
keepContentsDirlinks: ${TRUE}
copyToRoot:
  - {source: "../${DIR}/$${x}", target: "/srv/${APP}", exclude: ["${APP}*"]}
  - {content: "${DEEP} ../${APP} $HOME $${HOME}", target: /f}
labels: {"${APP}": "${APP}-${VERSION} $5"}
config:
  Env: ["PATH=/${APP}:$PATH:${OTHER}", "D=${DEEP}", "E=$${APP}$$"]
  Cmd: ["${APP}", "..", "../${APP}"]
  StopTimeout: ${UID}
`
	s, err := Parse(strings.NewReader(text), Options{Dir: "/src/spec", Arguments: []Argument{{Name: "VERSION", Value: "2"}}})
	if err != nil {
		t.Fatal(err)
	}
	checked, err := s.Check(Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Spec{s, checked} {
		env, _ := s.Config.Strings("Env")
		cmd, _ := s.Config.Strings("Cmd")
		stop, _ := s.Config.Get("StopTimeout")
		for _, tt := range []struct{ got, want string }{
			{s.Name + ":" + s.Tag, "acme/hello:v2"},
			{s.Architecture, "arm64"},
			{s.FromImage, "/src/spec/base-arm64.tar"},
			{itoa(int(s.UID)), "7"},
			{s.CopyToRoot[0].Source, "/src/sub/dir/${x}"},
			{s.CopyToRoot[0].Target + " " + s.CopyToRoot[0].Exclude[0], "/srv/hello hello*"},
			{*s.CopyToRoot[1].Content, "${APP}$ ../hello $HOME ${HOME}"},
			{s.Labels[0].Key + "=" + s.Labels[0].Value, "${APP}=hello-2 $5"},
			{strings.Join(env, " "), "PATH=/hello:$PATH:${OTHER} D=$${APP}$$ E=$${APP}$$"},
			{strings.Join(cmd, " "), "hello .. ../hello"},
		} {
			if tt.got != tt.want {
				t.Errorf("%q, want %q", tt.got, tt.want)
			}
		}
		if !s.KeepContentsDirlinks || len(s.Args) != 0 || s.Args == nil {
			t.Errorf("keepContentsDirlinks %v, args %v, stop timeout %v", s.KeepContentsDirlinks, s.Args, stop)
		}
	}
	if !same(t, checked, s) {
		t.Errorf("%+v\nwant\n%+v", checked, s)
	}
}

// TestVariablesAreOff: a spec without args has none.
func TestVariablesAreOff(t *testing.T) {
	s, err := Parse(strings.NewReader(`{name: a, labels: {k: "${X} $${Y}"}, config: {Env: ["A=$PATH"]}, fromImage: "x$${y}"}`), Options{Dir: "/"})
	if err != nil || s.Labels[0].Value != "${X} $${Y}" || s.FromImage != "/x${y}" || s.Args != nil {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestArgsOfScripts: scripts stay as they are written, and have all arguments.
func TestArgsOfScripts(t *testing.T) {
	s, err := Parse(strings.NewReader(`{name: a, args: {V: 1, W: x}, runAsRoot: 'echo ${V} ${Z}', extraCommands: 'echo $${V}'}`), Options{Arguments: []Argument{{Name: "W", Value: "${V}"}}})
	if err != nil || s.RunAsRoot != "echo ${V} ${Z}" || s.ExtraCommands != "echo $${V}" || len(s.Args) != 2 || s.Args[1].Value != "${V}" {
		t.Fatalf("%+v, %v", s, err)
	}
	if again, err := s.Check(Options{}); err != nil || !same(t, again, s) {
		t.Errorf("%+v, %v", again, err)
	}
}

func TestVariableErrors(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		set      []Argument
		want     []string
	}{
		{"undeclared", "name: a\nargs: {VERSION: 1}\ntag: ${VERSIO}\nlabels: {v: '${VERSION}'}", nil,
			[]string{`spec:3:6: tag: "${VERSIO}" is none of ${VERSION}, ${arch}, ${os}, ${platform}, ${variant}; did you mean "VERSION"?; declare it in args, or write $${ for a ${ that is part of the text`}},
		{"unused", "name: a\nargs:\n  VERSION: 1", nil, []string{"spec:3:3: args.VERSION: nothing uses it: write ${VERSION} where it belongs, or remove it"}},
		{"no default", "name: a\nargs: {V: null}\ntag: ${V}", nil, []string{"spec:2:11: args.V: it has no default: give it a value with --set V=VALUE"}},
		{"unknown", "name: a\nargs: {VERSION: 1}\ntag: ${VERSION}", []Argument{{"VERSON", "2", "--set"}}, []string{`--set: the spec has no argument "VERSON"; did you mean "VERSION"?`}},
		{"none declared", "name: a", []Argument{{"V", "2", "--set"}}, []string{`--set: the spec has no argument "V": it declares them as args: {V: "a default"}`}},
		{"twice", "name: a\nargs: {V: 1}\ntag: ${V}", []Argument{{"V", "2", "--set"}, {"V", "3", "--set"}}, []string{`--set: "V" is given twice: "2" and "3"`}},
		{"no end", "name: a\nargs: {V: 1}\ntag: ${V}\nlabels: {a: '${V'}", nil, []string{`spec:4:13: labels.a: "${V" has no end of its ${: write $${ for one that is part of the text`}},
		{"shell's forms", "name: a\nargs: {V: 1}\ntag: ${V:-2}", nil, []string{`"${V:-2}" is none of`}},
		{"names", "name: a\nargs: {1V: a, PATH: b, arch: c, 'x y': d}\nrunAsRoot: x", nil,
			[]string{`"1V" is no name`, `"PATH" has a meaning`, `"arch" has a meaning`, `"x y" is no name`}},
		{"kinds", "name: a\nargs: {A: [], B: {}}\nrunAsRoot: x", nil, []string{"args.A: got a list", "args.B: got an object"}},
		{"not an object", "name: a\nargs: [V]", nil, []string{"spec:2:7: args: got a list, want an object of names and values"}},
		{"NUL", "name: a\nargs: {A: \"a\\0b\"}\nrunAsRoot: x", nil, []string{"args.A: the value holds a NUL character"}},
		{"not UTF-8", "name: a\nargs: {A: b}\nrunAsRoot: x", []Argument{{"A", "\xff", "--set"}}, []string{"--set: \"\\xff\" is not UTF-8"}},
		{"up", "name: a\nargs: {A: b}\ncopyToRoot: [{source: 'x/${A}', target: '/${A}'}]", []Argument{{"A", "../../etc", "--set"}},
			[]string{`copyToRoot[0].source: with the values of its variables it is "x/../../etc": they may not bring .. into a path`, `copyToRoot[0].target: with`}},
		{"up in pieces", "name: a\nargs: {A: .}\nfromImage: 'oci:.${A}/x:${A}.'", nil, []string{`fromImage: with the values of its variables it is "oci:../x:.."`}},
		{"up in a working directory", "name: a\nargs: {A: ..}\nconfig: {WorkingDir: '/a/${A}'}", nil, []string{"config.WorkingDir: with the values"}},
		{"up in a path of the layers", "name: a\nargs: {A: ..}\nlayers: [{copyToRoot: ['x/${A}']}]", nil, []string{"layers[0].copyToRoot[0]: with the values"}},
		{"odd Env", "name: a\nargs: {A: 1}\ntag: ${A}\nconfig: {Env: ['B=${C:-x}']}", nil, []string{"config.Env[0]: \"B=${C:-x}\" has a ${ that no variable's name and } follow"}},
		{"platform in the platform", "name: a\nargs: {A: 1}\ntag: ${A}\nvariant: ${arch}", nil, []string{`variant: "${arch}" is none of ${A}`}},
		{"larger than a spec", "name: a\nargs: {A: " + strings.Repeat("x", MaxSize/100) + "}\nlabels: {" + strings.Repeat("a: '${A}', ", 1) + "b: '" + strings.Repeat("${A}", 200) + "'}", nil,
			[]string{"labels.b: with the values of its variables the spec is larger than 8 MiB"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse(strings.NewReader(tt.in), Options{Arguments: tt.set})
			if err == nil {
				t.Fatal("no error")
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(tt.want) {
				t.Errorf("%d errors, want %d:\n%v", len(lines), len(tt.want), err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v\nwant\n%s", err, want)
				}
			}
		})
	}
}

func TestExpandEnv(t *testing.T) {
	values := map[string]string{"PATH": "/bin", "A": "$PATH", "_1": "x"}
	lookup := func(name string) (string, bool) { v, ok := values[name]; return v, ok }
	for _, tt := range []struct{ in, want string }{
		{"PATH=/a:$PATH", "PATH=/a:/bin"},
		{"P=${PATH}x$_1-", "P=/binxx-"},
		{"P=$A", "P=$PATH"},
		{"P=$$PATH $${A} $5 $ $", "P=$PATH ${A} $5 $ $"},
		{"P=$$$A", "P=$$PATH"},
		{"P=$B", "error"}, {"P=${B}", "error"}, {"P=${}", "error"}, {"P=${A", "error"}, {"P=${A:-x}", "error"},
	} {
		got, err := ExpandEnv(tt.in, lookup)
		if err != nil {
			got = "error"
		}
		if got != tt.want {
			t.Errorf("%q: %q, want %q (%v)", tt.in, got, tt.want, err)
		}
	}
	if _, err := ExpandEnv("A="+strings.Repeat("$A", 1000), func(string) (string, bool) { return strings.Repeat("x", MaxSize/500), true }); err == nil {
		t.Error("a variable that grows: no error")
	}
}

// FuzzVariables: what is replaced is replaced once, and brings no .. into a path; what is accepted
// is the same when it is written and read again.
func FuzzVariables(f *testing.F) {
	f.Add("v${V}", "1.0", "A=${V}:$PATH")
	f.Add("../${V}", "..", "A=$$")
	f.Add("$${V}${V}", "${V}$", "A=$${V}$V")
	f.Add("a/${V}${V}", ".", "A=${V")
	f.Fuzz(func(t *testing.T, text, val, env string) {
		root := &node{kind: object}
		s := Setting{}
		args := s.node(object, "")
		put(args, s.text("V"), s.text("default"))
		item := s.node(object, "")
		put(item, s.text("source"), s.text(text))
		labels := s.node(object, "")
		put(labels, s.text("k"), s.text(text))
		for name, n := range map[string]*node{"args": args, "labels": labels, "copyToRoot": {kind: list, items: []*node{item}}} {
			put(root, s.text(name), n)
		}
		put(root, s.text("config"), &node{kind: object, members: []member{{s.text("Env"), &node{kind: list, items: []*node{s.text(env)}}}}})
		d := &decoder{spec: withDefaults(), dir: "/d", settingsDir: "/d"}
		put(root, s.text("name"), s.text("a"))
		d.variables = d.readArgs(root, []Argument{{Name: "V", Value: val}})
		d.readPlatform(root, "amd64")
		d.image(value{root, ""})
		if d.err() != nil {
			return
		}
		if got, want := d.spec.Labels[0].Value, oracle(text, val); got != want {
			t.Errorf("%q with %q is %q, want %q", text, val, got, want)
		}
		written := oracle(text, val)
		if got := d.spec.CopyToRoot[0].Source; climbing(text) == 0 && !strings.HasPrefix(written, "/") && !strings.HasPrefix(got, "/d") {
			t.Errorf("source %q climbs", got)
		}
		d.spec.Args = []KeyValue{}
		again, err := d.spec.Check(Options{})
		if err != nil || !same(t, again, d.spec) {
			t.Errorf("again: %v\n%+v\n%+v", err, again, d.spec)
		}
	})
}

// oracle replaces variables in a text that is accepted.
func oracle(text, val string) string {
	values := map[string]string{"$${": "${", "${V}": val, "${os}": "linux", "${arch}": "amd64", "${variant}": "", "${platform}": "linux/amd64"}
	var out strings.Builder
next:
	for text != "" {
		for from, to := range values {
			if rest, ok := strings.CutPrefix(text, from); ok {
				out.WriteString(to)
				text = rest
				continue next
			}
		}
		out.WriteByte(text[0])
		text = text[1:]
	}
	return out.String()
}
