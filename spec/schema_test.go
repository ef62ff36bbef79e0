package spec

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/varve-image/varve/internal/compress"
)

func compileSchema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("spec.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("spec.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asJSON returns n in the form that a validator expects. Numbers that YAML alone
// can write become what an editor's YAML reader makes of them.
func asJSON(n *node) any {
	switch n.kind {
	case boolean:
		return strings.EqualFold(n.text, "true")
	case number:
		if json.Valid([]byte(n.text)) {
			return json.Number(n.text)
		}
		i, _ := strconv.ParseInt(n.text, 0, 64)
		return json.Number(strconv.FormatInt(i, 10))
	case text:
		return n.text
	case list:
		l := []any{}
		for _, item := range n.items {
			l = append(l, asJSON(item))
		}
		return l
	case object:
		m := map[string]any{}
		for _, item := range n.members {
			m[item.key.text] = asJSON(item.value)
		}
		return m
	}
	return nil
}

func TestSchemaTakesGood(t *testing.T) {
	s := compileSchema(t)
	good := goodSpecs()
	for _, pattern := range []string{"testdata/*.yaml", "../examples/*/image.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			good[name] = string(data)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(good)) {
		if _, err := Parse(strings.NewReader(good[name]), Options{}); err != nil {
			t.Errorf("%s: Parse: %v", name, err)
			continue
		}
		if err := s.Validate(asJSON(readTree([]byte(good[name]), &problems{}))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSchemaRefusesBad(t *testing.T) {
	s := compileSchema(t)
	for _, tt := range badSpecs {
		root := readTree([]byte(tt.in), &problems{})
		if root == nil || strings.Contains(tt.want, "not supported; ") || strings.Contains(tt.want, " for a key") {
			continue // not even YAML that an editor could check
		}
		if err := s.Validate(asJSON(root)); err == nil && !tt.schema {
			t.Errorf("%.100q is valid by the schema, but not to Parse", tt.in)
		} else if err != nil && tt.schema {
			t.Errorf("%.100q: the schema knows better than the test: %v", tt.in, err)
		}
	}
}

// TestSchemaIsComplete compares the schema with the decoder: the same fields,
// each with a description.
func TestSchemaIsComplete(t *testing.T) {
	type properties map[string]struct{ Description string }
	var s struct {
		Schema     string `json:"$schema"`
		Properties properties
		Defs       map[string]struct {
			Properties           properties
			AdditionalProperties *bool
		} `json:"$defs"`
		AdditionalProperties *bool
	}
	if err := json.Unmarshal(Schema(), &s); err != nil {
		t.Fatal(err)
	}
	if s.Schema != "https://json-schema.org/draft/2020-12/schema" || s.AdditionalProperties == nil || *s.AdditionalProperties {
		t.Errorf("the root is of %q, or takes any field", s.Schema)
	}
	check := func(name string, p properties, in func(field string) string) {
		for field, about := range p {
			if about.Description == "" {
				t.Errorf("%s.%s has no description", name, field)
			}
			if _, err := Parse(strings.NewReader(in(field)), Options{}); err != nil && strings.Contains(err.Error(), "unknown") {
				t.Errorf("%s.%s is in the schema alone: %v", name, field, err)
			}
		}
	}
	check("spec", s.Properties, func(f string) string { return "{" + f + ": {}}" })
	check("Copy", s.Defs["Copy"].Properties, func(f string) string { return "{copyToRoot: [{" + f + ": {}}]}" })
	check("Group", s.Defs["Group"].Properties, func(f string) string { return "{layers: [{" + f + ": {}}]}" })
	check("PermRule", s.Defs["PermRule"].Properties, func(f string) string { return "{perms: [{" + f + ": {}}]}" })
	for name, def := range s.Defs {
		if def.AdditionalProperties == nil || *def.AdditionalProperties {
			t.Errorf("%s takes any field", name)
		}
	}
	for _, f := range []struct {
		defined properties
		written string
	}{{s.Properties, "name: x"}, {s.Defs["Copy"].Properties, "source"}, {s.Defs["PermRule"].Properties, "capabilities"}} {
		if len(f.defined) < 4 {
			t.Errorf("only %d fields beside %s", len(f.defined), f.written)
		}
	}
}

func TestSchemaIsTheSameEachTime(t *testing.T) {
	a, err := generateSchema()
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if b, err := generateSchema(); err != nil || !bytes.Equal(a, b) {
			t.Fatalf("it changed: %v", err)
		}
	}
}

// TestSchemaCompressor: the schema's pattern accepts what the decoder accepts.
func TestSchemaCompressor(t *testing.T) {
	schema := compileSchema(t)
	for _, name := range []string{"", "none", "gz", "zstd", "bzip2", "xz", "gzip", "lz4"} {
		texts := []string{name, name + ":", name + ":01", name + ":x"}
		for level := range 100 {
			texts = append(texts, name+":"+strconv.Itoa(level))
		}
		for _, text := range texts {
			_, err := compress.Parse(text)
			if got := schema.Validate(map[string]any{"name": "a", "compressor": text}); (got == nil) != (err == nil) {
				t.Errorf("%q: the schema says %v, the decoder %v", text, got, err)
			}
		}
	}
}
