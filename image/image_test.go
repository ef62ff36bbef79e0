package image

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/layer"
)

// fakeLayer is a layer of some text.
type fakeLayer struct {
	text  string
	err   error
	reads atomic.Int32
}

func (f *fakeLayer) Title() string { return f.text }

func (f *fakeLayer) Info(ctx context.Context) (layer.Info, error) {
	if err := ctx.Err(); err != nil {
		return layer.Info{}, err
	}
	f.reads.Add(1)
	return layer.Info{DiffID: digest.FromString(f.text), Size: int64(len(f.text))}, f.err
}

func (f *fakeLayer) Write(_ context.Context, w io.Writer) error {
	_, err := io.WriteString(w, f.text)
	return err
}

// fakeImage describes an image of n layers.
func fakeImage(n int) (Description, []*fakeLayer) {
	d := Description{Created: "1970-01-01T00:00:01+00:00", Architecture: "amd64", OS: "linux"}
	var layers []*fakeLayer
	for i := range n {
		l := &fakeLayer{text: fmt.Sprint("layer ", i)}
		layers = append(layers, l)
		d.Layers = append(d.Layers, l)
		d.History = append(d.History, History{Created: d.Created, Comment: l.text})
	}
	return d, layers
}

func TestRawConfig(t *testing.T) {
	d, _ := fakeImage(1)
	d.Config = &ordjson.Object{}
	d.Config.Set("Cmd", []any{"/bin/é"})
	got, err := New(d).RawConfig(context.Background())
	want := `{
    "created": "1970-01-01T00:00:01+00:00",
    "architecture": "amd64",
    "os": "linux",
    "config": {
        "Cmd": [
            "/bin/\u00e9"
        ]
    },
    "rootfs": {
        "diff_ids": [
            "` + digest.FromString("layer 0").String() + `"
        ],
        "type": "layers"
    },
    "history": [
        {
            "created": "1970-01-01T00:00:01+00:00",
            "comment": "layer 0"
        }
    ]
}`
	if err != nil || string(got) != want {
		t.Errorf("config is\n%s\n%v, want\n%s", got, err, want)
	}
	object, ids, err := ParseConfig(got)
	if err != nil || len(ids) != 1 || ids[0] != digest.FromString("layer 0") {
		t.Errorf("read again: %v, %v", ids, err)
	}
	if again, err := ordjson.Marshal(object); err != nil || !bytes.Equal(again, got) {
		t.Errorf("written again: %s, %v", again, err)
	}
}

func TestStorePathsComment(t *testing.T) {
	// Printed by Python: f"store paths: {paths}".
	for want, paths := range map[string][]string{
		`store paths: []`:                          nil,
		`store paths: ['/a', '/b']`:                {"/a", "/b"},
		`store paths: ["it's"]`:                    {"it's"},
		`store paths: ['it\'s "x"']`:               {`it's "x"`},
		`store paths: ['a\\b\n\t\r\x00\x7f\xa0é']`: {"a\\b\n\t\r\x00\x7f\u00a0é"},
		`store paths: ['\u200b\U000e0001']`:        {"\u200b\U000e0001"},
	} {
		if got := StorePathsComment(paths); got != want {
			t.Errorf("StorePathsComment(%q) = %s, want %s", paths, got, want)
		}
	}
}

func TestParseConfigRefuses(t *testing.T) {
	for in, want := range map[string]string{
		`[]`: "expected an object", `{}`: "rootfs", `{"rootfs": {}, "RootFS": {}}`: `field "RootFS"`,
		`{"rootfs": {"diff_ids": [1]}}`:       "rootfs.diff_ids[0]",
		`{"rootfs": {"diff_ids": ["md5:x"]}}`: "rootfs.diff_ids[0]",
	} {
		if _, _, err := ParseConfig([]byte(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseConfig(%s): %v, want an error with %q", in, err, want)
		}
	}
}
