package inspect_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/image/inspect"
	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/layer"
	"github.com/varve-image/varve/tree"
)

// newLayer returns a layer with entries.
func newLayer(entries ...*tree.Entry) image.Layer {
	return layer.New(func() tree.Seq { return tree.All(append([]*tree.Entry{tree.NewDir(".", 0o755)}, entries...)) }, layer.Options{})
}

// read builds an image and inspects it.
func read(t *testing.T, d image.Description, names ...string) *inspect.Image {
	t.Helper()
	d.Architecture, d.OS = "arm64", "linux"
	stored, err := image.AsStored(t.Context(), image.New(d))
	if err != nil {
		t.Fatal(err)
	}
	img, err := inspect.Read(t.Context(), stored, names)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// two returns an image of two layers, whose config would move a terminal's
// cursor.
func two(t *testing.T) *inspect.Image {
	return read(t, image.Description{
		Layers: []image.Layer{
			newLayer(tree.NewDir("bin", 0o755), tree.NewFile("bin/a", 0o755, "aaaa"), tree.NewFile("bin/b", 0o755, "b")),
			newLayer(tree.NewFile(".wh.gone", 0o644, "")),
		},
		History: []image.History{{Comment: "tools"}, {}},
		Created: "1970-01-01T00:00:01Z",
		Config:  &ordjson.Object{Members: []ordjson.Member{{Key: "Cmd", Value: []any{"/bin/a", "\x1b[2J"}}}},
	}, "a:1", "b:2")
}

func TestRead(t *testing.T) {
	img := two(t)
	if img.Created != "1970-01-01T00:00:01Z" || img.Platform.Architecture != "arm64" || len(img.Names) != 2 {
		t.Errorf("got %+v", img)
	}
	if len(img.Layers) != 2 {
		t.Fatalf("got %d layers", len(img.Layers))
	}
	lower, upper := img.Layers[0], img.Layers[1]
	if img.Size != lower.Size+upper.Size {
		t.Errorf("got %d bytes, and layers of %d and %d", img.Size, lower.Size, upper.Size)
	}
	if lower.Entries != 4 || lower.Files != 2 || lower.Bytes != 5 || lower.History.Comment != "tools" {
		t.Errorf("got the lower layer %+v", lower)
	}
	if upper.Whiteouts != 1 || upper.History.Comment != "" {
		t.Errorf("got the upper layer %+v", upper)
	}
}

func TestText(t *testing.T) {
	many := make([]*tree.Entry, 10)
	for i := range many {
		many[i] = tree.NewFile(string(rune('a'+i)), 0o644, "")
	}
	tests := []struct {
		name string
		img  *inspect.Image
		want []string // parts, in this order
	}{
		{"two layers", two(t), []string{
			"image     a:1\nimage     b:2\nid        sha256:", "\ncreated   1970-01-01T00:00:01Z\nplatform  linux/arm64\nsize      ", " in 2 layers\n",
			"\nconfig\n  Cmd           [\"/bin/a\", \"\\u001b[2J\"]\n",
			"\nlayer 1/2  sha256:", "\n  comment     tools\n  4 entries, 2 files of 5 B\n    /bin  5 B  2 files\n",
			"\nlayer 2/2  sha256:", "  2 entries, 1 file of 0 B, 1 deletion\n    /.wh.gone  0 B\n",
		}},
		{"no layers", read(t, image.Description{}), []string{"id        sha256:", "\nsize      0 B in 0 layers\n"}},
		{"many files", read(t, image.Description{Layers: []image.Layer{newLayer(many...)}, History: make([]image.History, 1)}), []string{
			"    /h  0 B\n    … and 2 more\n",
		}},
		{"a name for a terminal", read(t, image.Description{}, "\x1b[2J"), []string{`image     "\x1b[2J"`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rest := tt.img.Text()
			if strings.Contains(rest, "\x1b") {
				t.Errorf("%q moves the cursor", rest)
			}
			for _, part := range tt.want {
				_, after, ok := strings.Cut(rest, part)
				if !ok {
					t.Fatalf("lacks %q in %s", part, rest)
				}
				rest = after
			}
		})
	}
}

func TestJSON(t *testing.T) {
	img := two(t)
	line, err := json.Marshal(img)
	if err != nil {
		t.Fatal(err)
	}
	list, err := inspect.JSON([]*inspect.Image{img})
	if err != nil {
		t.Fatal(err)
	}
	v, err := ordjson.Parse(list)
	if err != nil {
		t.Fatal(err)
	}
	one, err := ordjson.MarshalCompact(v.([]any)[0])
	if err != nil {
		t.Fatal(err)
	}
	if string(one) != string(line) {
		t.Errorf("marshalled by itself and in a list it differs:\n%s\n%s", line, one)
	}
	at := 0
	for _, key := range []string{"names", "id", "platform", "layers", "diffID", "uncompressedSize", "entries", "files", "whiteouts", "contents", "config", "architecture"} {
		i := strings.Index(string(line)[at:], `"`+key+`":`)
		if i < 0 {
			t.Fatalf("%q is not in its place in %s", key, line)
		}
		at += i
	}
}
