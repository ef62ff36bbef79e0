package image

import (
	"strings"
	"testing"

	"github.com/varve-image/varve/image/ordjson"
)

// TestRun: fields are Docker's in upper or lower case, and a string for a command is a list.
func TestRun(t *testing.T) {
	for stored, want := range map[string]string{
		`{"env":["A=1"],"CMD":["x"]}`:                          `{"Env":["A=1"],"Cmd":["x"]}`,
		`{"Env":["A=1"],"env":["B=1"]}`:                        `{"Env":["B=1"]}`,
		`{"labels":{"a":"1","b":"1"},"Labels":{"b":"2"}}`:      `{"Labels":{"a":"1","b":"2"}}`,
		`{"Labels":{"a":"1"},"labels":null}`:                   `{"Labels":null}`,
		`{"Cmd":"a b","entrypoint":"","SHELL":"/bin/sh"}`:      `{"Cmd":["ab"],"Entrypoint":[""],"Shell":["/bin/sh"]}`,
		`{"healthcheck":{"test":["x"]},"x":"text","User":"u"}`: `{"Healthcheck":{"test":["x"]},"x":"text","User":"u"}`,
		`{"Cmd":null}`: `{"Cmd":null}`,
	} {
		t.Run(stored, func(t *testing.T) {
			config, err := ordjson.ParseObject([]byte(`{"config":` + stored + `}`))
			if err != nil {
				t.Fatal(err)
			}
			run, err := runOf(config)
			if err != nil {
				t.Fatal(err)
			}
			got, err := ordjson.Marshal(run)
			if text := strings.Join(strings.Fields(string(got)), ""); err != nil || text != want {
				t.Errorf("%s is %s, %v; want %s", stored, text, err, want)
			}
		})
	}
	for _, bad := range []string{`{"config":[]}`, `{"config":"x"}`} {
		config, err := ordjson.ParseObject([]byte(bad))
		if err != nil {
			t.Fatal(err)
		}
		if run, err := runOf(config); err == nil {
			t.Errorf("%s is %v", bad, run)
		}
	}
}

// FuzzOCIConfig: a config stays as it is, or gets lists for commands and then stays as it is.
func FuzzOCIConfig(f *testing.F) {
	f.Add([]byte(`{"config":{"Cmd":"x","entrypoint":"y"},"rootfs":{}}`))
	f.Add([]byte(`{"config":{"Cmd":["x"]}, "b": 1.50}`))
	f.Add([]byte(`{"config":null}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		once, err := OCIConfig(data)
		if err != nil {
			return
		}
		again, err := OCIConfig(once)
		if err != nil || string(again) != string(once) {
			t.Errorf("%q is %q, then %q, %v", data, once, again, err)
		}
		config, err := ordjson.ParseObject(once)
		if err != nil {
			t.Fatal(err)
		}
		if run, err := config.Object("config"); err == nil && run != nil && listCommands(run) {
			t.Errorf("%q has a text for a command", once)
		}
	})
}
