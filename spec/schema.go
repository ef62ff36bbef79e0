package spec

import (
	_ "embed" // for schema.json
	"slices"
)

// schema is made of the types of this package and their comments.
//
//go:embed schema.json
var schema []byte

// Schema returns the JSON Schema (draft 2020-12) of a spec, indented by two
// spaces, with a line end. Everything that Parse accepts is valid by it. It
// finds wrong names, kinds and ranges; only Parse finds what a schema cannot
// express well (that a name follows the grammar of references, that a date
// exists, that a config key is there twice in two spellings).
func Schema() []byte { return slices.Clone(schema) }
