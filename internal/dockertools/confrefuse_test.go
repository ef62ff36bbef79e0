package dockertools

import (
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/varve-image/varve/internal/assemble"
)

// appPath is a store path.
const appPath = "/nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-app-1.0"

// confJSON returns a conf.json with some fields changed; nil leaves one out.
func confJSON(t *testing.T, fields map[string]any) []byte {
	t.Helper()
	conf := map[string]any{
		"architecture": "amd64", "os": "linux", "store_dir": "/nix/store", "repo_tag": "a:b", "config": map[string]any{},
		"customisation_layer": "/top", "created": "1970-01-01T00:00:01+00:00", "store_layers": []any{[]any{appPath}},
	}
	maps.Copy(conf, fields)
	for key, v := range conf {
		if v == nil {
			delete(conf, key)
		}
	}
	data, err := json.Marshal(conf)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestConfRefuses: faults in a conf.json are reported before anything is read.
func TestConfRefuses(t *testing.T) {
	paths := func(p string) map[string]any { return map[string]any{"store_layers": []any{[]any{appPath}, []any{p}}} }
	if _, err := ParseConf(confJSON(t, nil)); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		fields map[string]any
		want   string
	}{
		"leads out":       {paths("/nix/store/../x"), `store_layers[1]: "/nix/store/../x" is not a path in the store "/nix/store"`},
		"leads out, deep": {paths("/nix/store/a/../../../etc"), `"/nix/store/a/../../../etc"`},
		"dot":             {paths("/nix/store/./x"), `"/nix/store/./x"`},
		"two slashes":     {paths("/nix/store//x"), `"/nix/store//x"`},
		"slash at end":    {paths("/nix/store/x/"), `"/nix/store/x/"`},
		"elsewhere":       {paths("/etc/passwd"), `"/etc/passwd"`},
		"the store":       {paths("/nix/store"), `"/nix/store"`},
		"longer name":     {paths("/nix/store2/x"), `"/nix/store2/x"`},
		"relative":        {paths("nix/store/x"), `"nix/store/x"`},
		"empty":           {paths(""), `""`},
		"NUL":             {paths("/nix/store/a\x00b"), `"/nix/store/a\x00b"`},
		"other store":     {map[string]any{"store_dir": "/gnu/store"}, `is not a path in the store "/gnu/store"`},
		"unknown field":   {map[string]any{"fakeroot": 1}, "fakeroot: this field"},
		"no repo_tag":     {map[string]any{"repo_tag": nil}, "repo_tag: missing"},
		"number":          {map[string]any{"created": 1}, "created: expected a string"},
		"uid":             {map[string]any{"uid": "4294967295"}, "uid: expected a number"},
	} {
		if _, err := ParseConf(confJSON(t, tt.fields)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, tt.want)
		}
	}
}

// TestConfTimes: not all readers of a tar can read times before 1970.
func TestConfTimes(t *testing.T) {
	for name, tt := range map[string]struct{ created, mtime, want string }{
		"created before 1970": {"1969-12-31T23:59:59+00:00", "1970-01-01T00:00:01+00:00", `created: "1969-12-31T23:59:59+00:00" is before 1970`},
		"mtime before 1970":   {"1970-01-01T00:00:01+00:00", "1969-12-31T23:59:59+00:00", `mtime: "1969-12-31T23:59:59+00:00" is before 1970`},
		"before by its zone":  {"1970-01-01T00:30:00+01:00", "1970-01-01T00:00:01+00:00", "is before 1970"},
		"no time":             {"yesterday", "1970-01-01T00:00:01+00:00", `created: "yesterday" is not a time`},
		"no zone":             {"1970-01-01T00:00:01+00:00", "1970-01-01T00:00:01", `mtime: "1970-01-01T00:00:01" is not a time`},
	} {
		t.Run(name, func(t *testing.T) {
			conf, err := ParseConf(confJSON(t, map[string]any{"created": tt.created, "mtime": tt.mtime}))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conf.Image(t.Context(), ConfOptions{Now: time.Unix(1e9, 0)}); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %v, want an error with %q", name, err, tt.want)
			}
		})
	}
	// The first moment of 1970 is accepted.
	conf, err := ParseConf(confJSON(t, map[string]any{"created": "1970-01-01T00:00:00+00:00", "mtime": "1970-01-01T00:00:00Z"}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conf.Image(t.Context(), ConfOptions{Root: t.TempDir()}); err == nil || strings.Contains(err.Error(), "1970") {
		t.Errorf("the error is %v, want one of a missing file", err)
	}
}

// TestConfWithoutOpenBase: a caller that cannot open base images gets an error for a
// conf.json that has one.
func TestConfWithoutOpenBase(t *testing.T) {
	conf, err := ParseConf(confJSON(t, map[string]any{"from_image": "base.tar"}))
	if err != nil {
		t.Fatal(err)
	}
	_, err = conf.Image(t.Context(), ConfOptions{})
	var wrong *assemble.SpecError
	if !errors.As(err, &wrong) || wrong.Field != "from_image" {
		t.Error(err)
	}
}
