package image

import (
	"reflect"
	"slices"
	"testing"
	"unicode/utf8"
)

func TestParseStorePaths(t *testing.T) {
	for _, paths := range [][]string{
		nil, {"/a", "/b"}, {"it's"}, {`it's "x"`}, {"a\\b\n\t\r\x00\x7f\u00a0é"}, {"\u200b\U000e0001"}, {""}, {", ", "]", "['"},
	} {
		comment := StorePathsComment(paths)
		if got, ok := parseStorePaths(comment); !ok || !slices.Equal(got, paths) {
			t.Errorf("parseStorePaths(%s) = %q, %v, want %q", comment, got, ok, paths)
		}
	}
	for _, comment := range []string{
		"", "layer", "store paths: ", "store paths: [", "store paths: ['/a'", "store paths: ['/a]", "store paths: [/a]",
		"store paths: ['/a' '/b']", "store paths: ['/a','/b']", "store paths: ['/a', ]", `store paths: ['\']`, `store paths: ['\q']`,
		`store paths: ['\x0']`, `store paths: ['\xg0']`, `store paths: ['\U00110000']`, `store paths: ['a"]`,
		"x store paths: ['/a']", "store paths: ['/a'] and more",
	} {
		if paths, ok := parseStorePaths(comment); ok || paths != nil {
			t.Errorf("parseStorePaths(%q) = %q, %v", comment, paths, ok)
		}
	}
}

func FuzzParseStorePaths(f *testing.F) {
	f.Add(`store paths: ['/a', "it's"]`)
	f.Add(`store paths: ['\\\'\x00\u200b\U000e0001']`)
	f.Fuzz(func(t *testing.T, comment string) {
		paths, ok := parseStorePaths(comment)
		if !ok || !utf8.ValidString(comment) {
			return
		}
		if again, ok := parseStorePaths(StorePathsComment(paths)); !ok || !slices.Equal(again, paths) {
			t.Errorf("%q has %q, and written again %q", comment, paths, again)
		}
	})
}

// TestStorePaths: what the history tells belongs to the layers, whatever stands between them.
func TestStorePaths(t *testing.T) {
	const layer = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for history, want := range map[string][][]string{
		`[{"comment": "store paths: ['/a', '/b']"}, {"comment": "x", "empty_layer": true}, {"comment": "top layer"}]`: {{"/a", "/b"}, nil},
		// Of which layer does it speak?
		`[{"comment": "store paths: ['/a']"}]`:                                   {nil, nil},
		`[{"comment": "store paths: ['/a']"}, 5]`:                                {{"/a"}, nil},
		`[{"comment": ["store paths: ['/a']"]}, {"comment": "store paths: ['"}]`: {nil, nil},
		`{"comment": "store paths: ['/a']"}`:                                     {nil, nil},
	} {
		config := `{"rootfs": {"type": "layers", "diff_ids": ["` + layer + `", "` + layer + `"]}, "history": ` + history + `}`
		img, err := NewStored([]byte(config), make([]StoredLayer, 2))
		if err != nil {
			t.Fatal(err)
		}
		if got := img.StorePaths(); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %q, want %q", history, got, want)
		}
	}
}
