package layering

import (
	"reflect"
	"strings"
	"testing"
)

func TestPlanFile(t *testing.T) {
	plan := [][]string{{"/nix/store/b-libc"}, {}, {"/nix/store/c-sed", "/nix/store/a b"}, nil}
	data, err := FormatPlan(plan)
	if err != nil {
		t.Fatal(err)
	}
	const want = "varve layers 1\n# Which paths share a layer, bottom first. Written by varve lock --layers.\n" +
		"\n/nix/store/b-libc\n\n/nix/store/c-sed\n/nix/store/a b\n"
	if string(data) != want {
		t.Errorf("written:\n%s", data)
	}
	kept := [][]string{plan[0], plan[2]}
	for _, text := range []string{want, strings.ReplaceAll(want, "\n", "\r\n"), strings.TrimSuffix(want, "\n"), want + "\n\n# end"} {
		if got, err := ParsePlan([]byte(text)); err != nil || !reflect.DeepEqual(got, kept) {
			t.Errorf("%q: got %q, %v", text, got, err)
		}
	}
	if got, err := ParsePlan([]byte("varve layers 1")); err != nil || len(got) > 0 {
		t.Errorf("an empty plan: %q, %v", got, err)
	}
	for path, want := range map[string]string{"a\nb": "control", "": "empty", "#a": "#", " a": "space", "a\xff": "UTF-8"} {
		if _, err := FormatPlan([][]string{{path}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", path, err)
		}
	}
}

func TestParsePlanRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                                     `line 1: got "", want "varve layers 1"`,
		"{}":                                   `line 1: got "{}"`,
		"varve layers 2\n/a\n":                 `line 1: its version is "2", and this varve knows 1`,
		"varve layers 1\n\n/a\n/a\n":           `line 4: "/a" is in line 3 already`,
		"varve layers 1\n/a\n\n\n/a\n \n/\x00": "line 5: \"/a\" is in line 2 already\nline 6: \" \": it begins or ends with a space, or is empty\nline 7: \"/\\x00\": it has a control character",
		"varve layers 1\n/\xff":                `it is not UTF-8`,
		strings.Repeat("#", MaxPlanSize+1):     "larger than 16 MiB",
	} {
		if layers, err := ParsePlan([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: got %q, %v, want %q", text, layers, err, want)
		}
	}
}

func FuzzParsePlan(f *testing.F) {
	f.Add([]byte("varve layers 1\n# comment\n\n/a\n/b\n\n/c\n"))
	f.Add([]byte("varve layers 1\r\n/a\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		layers, err := ParsePlan(data)
		if err != nil {
			return
		}
		written, err := FormatPlan(layers)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ParsePlan(written); err != nil || !reflect.DeepEqual(again, layers) {
			t.Errorf("%q becomes %q, %v", layers, again, err)
		}
	})
}
