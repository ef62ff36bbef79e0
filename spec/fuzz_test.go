package spec

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/distribution/reference"

	"github.com/varve-image/varve/image/ordjson"
)

// FuzzParse holds Parse to its contract on any input: it ends, an error is
// Errors of single lines, and what it accepts is valid by the schema and has a
// config that can be written and read again.
func FuzzParse(f *testing.F) {
	full, err := os.ReadFile("testdata/full.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(full)
	for _, in := range goodSpecs() {
		f.Add([]byte(in))
	}
	for _, tt := range badSpecs {
		f.Add([]byte(tt.in))
	}
	schema := compileSchema(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Parse(strings.NewReader(string(data)), Options{Dir: "/src"})
		if err != nil {
			checkErrors(t, err)
			return
		}
		if _, err := reference.WithName(s.Name); err != nil {
			t.Errorf("name %q: %v", s.Name, err)
		}
		text, err := ordjson.Marshal(s.Config)
		if err != nil {
			t.Fatalf("write config: %v", err)
		}
		if _, err := ordjson.Parse(text); err != nil {
			t.Errorf("read config %s: %v", text, err)
		}
		if err := schema.Validate(asJSON(readTree(data, &problems{}))); err != nil {
			t.Errorf("schema: %v", err)
		}
	})
}

func checkErrors(t *testing.T, err error) {
	t.Helper()
	errs, ok := errors.AsType[Errors](err)
	if !ok || len(errs) == 0 || len(errs) > MaxErrors+1 {
		t.Fatalf("got %T with %d errors: %v", err, len(errs), err)
	}
	line := 0
	for i, e := range errs {
		if e.Line < line && i < MaxErrors {
			t.Errorf("line %d after line %d", e.Line, line)
		}
		line = e.Line
		if strings.IndexFunc(e.Error(), isControl) >= 0 {
			t.Errorf("a control character in %q", e.Error())
		}
	}
}
