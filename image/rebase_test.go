package image

import (
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/internal/ocijson"
	"github.com/varve-image/varve/layer"
)

// stored returns an image of a config and layers with the given texts.
func stored(t *testing.T, config string, layers ...string) *Stored {
	t.Helper()
	ids := make([]string, len(layers))
	blobs := make([]StoredLayer, len(layers))
	for i, text := range layers {
		d := digest.FromString(text)
		ids[i] = `"` + d.String() + `"`
		blobs[i] = &layer.Blob{Name: text, DiffID: d}
	}
	data := strings.Replace(config, `"IDS"`, "["+strings.Join(ids, ", ")+"]", 1)
	if !strings.Contains(config, "IDS") {
		data = strings.TrimSuffix(config, "}") + `, "rootfs": {"type": "layers", "diff_ids": [` + strings.Join(ids, ", ") + "]}}"
	}
	img, err := NewStored([]byte(data), blobs)
	if err != nil {
		t.Fatalf("%s: %v", data, err)
	}
	return img
}

// TestRebaseConfig: field by field, what is inherited follows the base, and what
// the image set stays.
func TestRebaseConfig(t *testing.T) {
	for _, c := range []struct{ what, oldBase, own, newBase, want string }{
		{"inherited", `{"Cmd": ["a"]}`, `{"Cmd": ["a"]}`, `{"Cmd": ["b"]}`, `{"Cmd": ["b"]}`},
		{"its own", `{"Cmd": ["a"]}`, `{"Cmd": ["c"]}`, `{"Cmd": ["b"]}`, `{"Cmd": ["c"]}`},
		{"new in the image", `{}`, `{"User": "1"}`, `{}`, `{"User": "1"}`},
		{"new in both", `{}`, `{"User": "1"}`, `{"User": "2"}`, `{"User": "1"}`},
		{"new in the base", `{}`, `{}`, `{"StopSignal": "INT"}`, `{"StopSignal": "INT"}`},
		{"gone from the base", `{"User": "1"}`, `{"User": "1"}`, `{}`, `{}`},
		{"taken away by the image", `{"Cmd": ["a"]}`, `{"Entrypoint": ["e"]}`, `{"Cmd": ["b"]}`, `{"Entrypoint": ["e"]}`},
		{
			"environment", `{"Env": ["PATH=/bin", "A=1", "B=1", "C=1", "GONE=1"]}`,
			`{"Env": ["PATH=/bin", "A=1", "B=2", "GONE=1", "OWN=x"]}`,
			`{"Env": ["PATH=/usr/bin", "A=2", "B=3", "C=2", "NEW=1"]}`,
			`{"Env": ["PATH=/usr/bin", "A=2", "B=2", "NEW=1", "OWN=x"]}`,
		},
		{"environment gone", `{"Env": ["A=1"]}`, `{"Env": ["A=1"]}`, `{}`, `{}`},
		{
			"labels", `{"Labels": {"a": "1", "b": "1", "c": "1"}}`, `{"Labels": {"a": "1", "b": "2", "d": "1"}}`,
			`{"Labels": {"a": "2", "b": "3", "c": "2", "e": "1"}}`, `{"Labels": {"a": "2", "b": "2", "e": "1", "d": "1"}}`,
		},
		{"volumes gone", `{"Volumes": {"/a": {}}}`, `{"Volumes": {"/a": {}}}`, `{"User": "1"}`, `{"User": "1"}`},
	} {
		t.Run(c.what, func(t *testing.T) {
			wrap := func(config string) string {
				return `{"os": "linux", "architecture": "amd64", "config": ` + config + `}`
			}
			img, err := Rebase(stored(t, wrap(c.own), "base", "app"), stored(t, wrap(c.oldBase), "base"), stored(t, wrap(c.newBase), "new", "new too"))
			if err != nil {
				t.Errorf("%s: %v", c.what, err)
				return
			}
			config, ids, err := ParseConfig(img.ConfigJSON)
			if err != nil || len(ids) != 3 || ids[2] != digest.FromString("app") || len(img.Layers()) != 3 || img.Layers()[1].Title() != "new too" {
				t.Errorf("%s: layers %v, %v", c.what, ids, err)
			}
			run, _ := config.Get("config")
			want, err := ordjson.Parse([]byte(c.want))
			if err != nil {
				t.Fatal(err)
			}
			a, _ := ordjson.Marshal(run)
			if b, _ := ordjson.Marshal(want); string(a) != string(b) {
				t.Errorf("%s: config is\n%s\nwant\n%s", c.what, a, b)
			}
		})
	}
}

// TestRebaseRest: history follows the layers, and of the rest of the config the
// machine is the new base's.
func TestRebaseRest(t *testing.T) {
	const head = `{"os": "linux", "architecture": "arm64", `
	oldBase := stored(t, head+`"created": "1", "history": [{"created_by": "old"}, {"created_by": "CMD", "empty_layer": true}]}`, "base")
	img := stored(t, head+`"created": "2", "author": "me", "history": [{"created_by": "old"}, {"created_by": "CMD", "empty_layer": true},
		{"created_by": "ENV", "empty_layer": true}, {"created_by": "app"}]}`, "base", "app")
	newBase := stored(t, head+`"variant": "v8", "created": "3", "history": [{"created_by": "new"}]}`, "new")
	var err error
	if img.Manifest, err = ocijson.Manifest(v1.Descriptor{}, nil, map[string]string{"a": "1", v1.AnnotationBaseImageName: "x", v1.AnnotationBaseImageDigest: "y"}); err != nil {
		t.Fatal(err)
	}
	newBase.ManifestDescriptor.Digest = digest.FromString("new base")
	out, err := Rebase(img, oldBase, newBase)
	if err != nil {
		t.Fatal(err)
	}
	out.Annotations = BaseAnnotations(out.Annotations, "debian:12@"+digest.FromString("index").String(), newBase)
	config, _, err := ParseConfig(out.ConfigJSON)
	if err != nil {
		t.Fatal(err)
	}
	var steps []string
	history, _ := config.Get("history")
	for _, item := range history.([]any) {
		by, _ := item.(*ordjson.Object).String("created_by")
		steps = append(steps, by)
	}
	if got := strings.Join(steps, " "); got != "new ENV app" {
		t.Errorf("history %q", got)
	}
	for key, want := range map[string]string{"created": "2", "author": "me", "variant": "v8", "architecture": "arm64"} {
		if got, err := config.String(key); err != nil || got != want {
			t.Errorf("%s is %q, %v", key, got, err)
		}
	}
	if a := out.Annotations; len(a) != 3 || a["a"] != "1" || a[v1.AnnotationBaseImageName] != "docker.io/library/debian:12" || a[v1.AnnotationBaseImageDigest] != digest.FromString("new base").String() {
		t.Errorf("annotations %q", a)
	}
	// A history that does not begin like the old base's is split by layers.
	other := stored(t, head+`"history": [{"created_by": "rewritten"}]}`, "base")
	if out, err = Rebase(img, other, newBase); err != nil || !strings.Contains(string(out.ConfigJSON), `"app"`) || strings.Contains(string(out.ConfigJSON), `"old"`) {
		t.Errorf("another history: %s, %v", out.ConfigJSON, err)
	}
}

func TestRebaseRefuses(t *testing.T) {
	const amd64, arm64 = `{"os": "linux", "architecture": "amd64"}`, `{"os": "linux", "architecture": "arm64"}`
	img := stored(t, amd64, "base", "app")
	for _, c := range []struct {
		oldBase, newBase *Stored
		want             string
	}{
		{stored(t, amd64, "other"), stored(t, amd64, "new"), "its layer 1 is sha256:"},
		{stored(t, amd64, "base", "app", "more"), stored(t, amd64, "new"), "the image has 2 layers and the old base 3"},
		{stored(t, amd64, "base"), stored(t, arm64, "new"), "for linux/amd64 and the new base for linux/arm64"},
		{stored(t, `{"os": "linux", "architecture": "amd64", "config": []}`, "base"), stored(t, amd64, "new"), "config"},
		{stored(t, `{"os": "linux", "architecture": "amd64", "config": {"Env": 1}}`, "base"), stored(t, amd64, "new"), "Env"},
		{stored(t, amd64, "base"), stored(t, `{"os": "linux", "architecture": "amd64", "config": {"Labels": 1}}`, "new"), "Labels"},
	} {
		if _, err := Rebase(img, c.oldBase, c.newBase); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want one with %q", err, c.want)
		}
	}
}
