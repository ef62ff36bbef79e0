package assemble

import (
	"strings"
	"testing"

	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/spec"
)

func TestInheritConfig(t *testing.T) {
	const all, env = spec.InheritAll, spec.InheritEnv
	for _, tt := range []struct {
		name            string
		mode            spec.Inherit
		base, own, want string
	}{
		{"nothing set", all, `{"Env":["A=1"],"Cmd":["x"],"User":"u"}`, `{}`, `{"Env":["A=1"],"Cmd":["x"],"User":"u"}`},
		{"no base config", all, `null`, `{"Cmd":["x"]}`, `{"Cmd":["x"]}`},
		{"scalars", all, `{"User":"a","WorkingDir":"/a","StopSignal":"1"}`, `{"WorkingDir":"/b"}`, `{"User":"a","WorkingDir":"/b","StopSignal":"1"}`},
		{"null clears", all, `{"User":"a","Cmd":["x"],"Labels":{"a":"1"}}`, `{"User":null,"Labels":null}`, `{"Cmd":["x"]}`},
		{"null env", all, `{"Env":["A=1"]}`, `{"Env":null}`, `{}`},
		{"lists", all, `{"Cmd":["x"],"OnBuild":["y"]}`, `{"Cmd":["z"]}`, `{"Cmd":["z"],"OnBuild":["y"]}`},
		{"entrypoint drops cmd", all, `{"Entrypoint":["e"],"Cmd":["x"]}`, `{"Entrypoint":["f"]}`, `{"Entrypoint":["f"]}`},
		{"entrypoint and cmd", all, `{"Entrypoint":["e"],"Cmd":["x"]}`, `{"Entrypoint":["f"],"Cmd":["y"]}`, `{"Entrypoint":["f"],"Cmd":["y"]}`},
		{"cmd alone", all, `{"Entrypoint":["e"],"Cmd":["x"]}`, `{"Cmd":["y"]}`, `{"Entrypoint":["e"],"Cmd":["y"]}`},
		{"entrypoint cleared", all, `{"Entrypoint":["e"],"Cmd":["x"]}`, `{"Entrypoint":null}`, `{"Cmd":["x"]}`},
		{"env", all, `{"Env":["A=1","B=2"]}`, `{"Env":["B=3","C=4","A=5"]}`, `{"Env":["A=5","B=3","C=4"]}`},
		{"labels", all, `{"Labels":{"a":"1","b":"2"}}`, `{"Labels":{"b":"3","c":"4"}}`, `{"Labels":{"a":"1","b":"3","c":"4"}}`},
		{"volumes, ports", all, `{"Volumes":{"/a":{}},"ExposedPorts":{"1/tcp":{}}}`, `{"Volumes":{"/b":{}},"ExposedPorts":{"1/tcp":{}}}`,
			`{"Volumes":{"/a":{},"/b":{}},"ExposedPorts":{"1/tcp":{}}}`},
		{"null takes keys away", all, `{"Labels":{"a":"1","b":"2"},"Volumes":{"/a":{}},"ExposedPorts":{"1/tcp":{},"2/tcp":{}}}`,
			`{"Labels":{"a":null,"c":"3"},"Volumes":{"/a":null},"ExposedPorts":{"1/tcp":null,"3/tcp":{}}}`,
			`{"Labels":{"b":"2","c":"3"},"ExposedPorts":{"2/tcp":{},"3/tcp":{}}}`},
		{"null of what is not there", all, `{"Cmd":["x"]}`, `{"Labels":{"a":null},"Volumes":{"/a":null,"/b":{}}}`, `{"Cmd":["x"],"Volumes":{"/b":{}}}`},
		{"empty stays", all, `{"Cmd":["x"]}`, `{"Labels":{}}`, `{"Cmd":["x"],"Labels":{}}`},
		{"env mode, null key stays", env, `{"Labels":{"a":"1"}}`, `{"Labels":{"a":null}}`, `{"Labels":{"a":null}}`},
		{"healthcheck replaced", all, `{"Healthcheck":{"Test":["NONE"],"Retries":3}}`, `{"Healthcheck":{"Test":["CMD"]}}`, `{"Healthcheck":{"Test":["CMD"]}}`},
		{"unknown kept", all, `{"X":[1]}`, `{"Y":2}`, `{"X":[1],"Y":2}`},
		{"env mode", env, `{"Env":["A=1","A=2"],"Cmd":["x"],"User":"u","Labels":{"a":"1"}}`, `{"Cmd":["y"],"Env":["B=1"]}`, `{"Cmd":["y"],"Env":["A=2","B=1"]}`},
		{"env mode, null stays", env, `{"Env":["A=1"]}`, `{"User":null,"Env":null}`, `{"User":null,"Env":["A=1"]}`},
		{"env mode, nothing", env, `{"Cmd":["x"]}`, `{"Labels":{"b":"1"}}`, `{"Labels":{"b":"1"}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := InheritConfig(parse(t, tt.base), parse(t, tt.own), tt.mode)
			if err != nil {
				t.Fatal(err)
			}
			if text(t, got) != text(t, parse(t, tt.want)) {
				t.Errorf("config is %s, want %s", text(t, got), tt.want)
			}
		})
	}
}

// TestInheritEveryField: each field of the OCI config and of Docker's, in both
// modes: what the base alone sets, what both set, what the image takes away.
func TestInheritEveryField(t *testing.T) {
	for _, f := range []struct{ field, base, own, both string }{
		{"User", `"a"`, `"b"`, `"b"`},
		{"ExposedPorts", `{"1/tcp":{}}`, `{"2/udp":{}}`, `{"1/tcp":{},"2/udp":{}}`},
		{"Env", `["A=1","B=2"]`, `["B=3"]`, `["A=1","B=3"]`},
		{"Entrypoint", `["a"]`, `["b"]`, `["b"]`},
		{"Cmd", `["a"]`, `["b"]`, `["b"]`},
		{"Volumes", `{"/a":{}}`, `{"/b":{}}`, `{"/a":{},"/b":{}}`},
		{"WorkingDir", `"/a"`, `"/b"`, `"/b"`},
		{"Labels", `{"a":"1","b":"1"}`, `{"b":"2"}`, `{"a":"1","b":"2"}`},
		{"StopSignal", `"SIGINT"`, `"SIGQUIT"`, `"SIGQUIT"`},
		{"Memory", `1`, `2`, `2`},
		{"MemorySwap", `1`, `2`, `2`},
		{"CpuShares", `1`, `2`, `2`},
		{"Healthcheck", `{"Test":["CMD","a"],"Interval":1}`, `{"Test":["CMD","b"]}`, `{"Test":["CMD","b"]}`},
		{"ArgsEscaped", `true`, `false`, `false`},
		{"OnBuild", `["a"]`, `["b"]`, `["b"]`},
		{"Shell", `["/a"]`, `["/b"]`, `["/b"]`},
		{"StopTimeout", `1`, `2`, `2`},
		{"org.example.unknown", `[1]`, `[2]`, `[2]`},
	} {
		config := func(value string) string { return `{"` + f.field + `":` + value + `}` }
		inEnv, clearedInEnv := `{}`, config(`null`)
		bothInEnv := config(f.own)
		if f.field == "Env" { // the one field that dockerTools inherits
			inEnv, clearedInEnv, bothInEnv = config(f.base), config(f.base), config(f.both)
		}
		for _, tt := range []struct {
			what string
			mode spec.Inherit
			own  string
			want string
		}{
			{"the base's", spec.InheritAll, `{}`, config(f.base)},
			{"both", spec.InheritAll, config(f.own), config(f.both)},
			{"cleared", spec.InheritAll, config(`null`), `{}`},
			{"the base's", spec.InheritEnv, `{}`, inEnv},
			{"both", spec.InheritEnv, config(f.own), bothInEnv},
			{"cleared", spec.InheritEnv, config(`null`), clearedInEnv},
		} {
			got, err := InheritConfig(parse(t, config(f.base)), parse(t, tt.own), tt.mode)
			if err != nil || text(t, got) != text(t, parse(t, tt.want)) {
				t.Errorf("%s, %s, inherit %s: %s, %v, want %s", f.field, tt.what, tt.mode, text(t, got), err, tt.want)
			}
		}
	}
}

func TestInheritConfigRefuses(t *testing.T) {
	_, err := InheritConfig(parse(t, `{"Env":"A=1"}`), parse(t, `{}`), spec.InheritAll)
	if err == nil || !strings.Contains(err.Error(), "Env") {
		t.Errorf("an Env that is not a list: %v", err)
	}
}

func parse(t *testing.T, data string) *ordjson.Object {
	t.Helper()
	v, err := ordjson.Parse([]byte(data))
	if err != nil {
		t.Fatal(err)
	}
	o, _ := v.(*ordjson.Object)
	return o
}

func text(t *testing.T, o *ordjson.Object) string {
	t.Helper()
	data, err := ordjson.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(data)), "")
}
