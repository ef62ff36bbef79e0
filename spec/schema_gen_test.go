package spec

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/invopop/jsonschema"

	"github.com/varve-image/varve/internal/arch"
	"github.com/varve-image/varve/internal/owner"
)

var update = flag.Bool("update", false, "write schema.json")

// TestSchemaFile: schema.json matches the types and their comments.
func TestSchemaFile(t *testing.T) {
	want, err := generateSchema()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("schema.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile("schema.json"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("schema.json is out of date: go test ./spec -run TestSchemaFile -update (%v)", err)
	}
}

// generateSchema makes schema.json. Names, their order, what is required and the descriptions
// come from Spec and the types in it; forms says what may be written for each.
func generateSchema() ([]byte, error) {
	comments, err := allComments()
	if err != nil {
		return nil, fmt.Errorf("read descriptions: %w", err)
	}
	written := []reflect.Type{
		reflect.TypeFor[Spec](), reflect.TypeFor[Copy](), reflect.TypeFor[Group](), reflect.TypeFor[PermRule](),
		reflect.TypeFor[LayerFiles](), reflect.TypeFor[Directory](), reflect.TypeFor[User](), reflect.TypeFor[UserGroup](),
	}
	r := &jsonschema.Reflector{
		ExpandedStruct: true,
		Anonymous:      true,
		LookupComment: func(t reflect.Type, field string) string {
			return comments[t.Name()+"."+field]
		},
		Mapper: func(t reflect.Type) *jsonschema.Schema {
			if t.Kind() == reflect.Struct && !slices.Contains(written, t) {
				return &jsonschema.Schema{}
			}
			return nil
		},
	}
	root := r.Reflect(&Spec{})
	root.Title = "varve image"
	root.Description = "What an image is made of. Field names are those of dockerTools; null stands for a field that is not set."
	fill("", root)
	for name, def := range root.Definitions {
		fill(name, def)
	}
	out, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write schema: %w", err)
	}
	return append(out, '\n'), nil
}

// fill gives each property of an object of type name its form, and allows null where a property
// may be left out.
func fill(name string, s *jsonschema.Schema) {
	all := forms()
	for pair := s.Properties.Oldest(); pair != nil; pair = pair.Next() {
		form, ok := all[name+"."+pair.Key]
		if !ok {
			form, ok = all[pair.Key]
		}
		if !ok {
			form = pair.Value
		}
		if !slices.Contains(s.Required, pair.Key) {
			form = either(form, &jsonschema.Schema{Type: "null"})
		}
		form.Description = pair.Value.Description
		pair.Value = form
	}
}

// either returns a schema that accepts what any of list accepts.
func either(list ...*jsonschema.Schema) *jsonschema.Schema {
	s := &jsonschema.Schema{}
	for _, form := range list {
		if form.AnyOf != nil {
			s.AnyOf = append(s.AnyOf, form.AnyOf...)
			continue
		}
		alternative := *form
		alternative.Description = ""
		s.AnyOf = append(s.AnyOf, &alternative)
	}
	return s
}

func matching(pattern string) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Pattern: pattern}
}

func oneOf(names ...string) *jsonschema.Schema {
	s := &jsonschema.Schema{Type: "string"}
	for _, name := range names {
		s.Enum = append(s.Enum, name)
	}
	return s
}

func integer(least, most int) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "integer", Minimum: json.Number(itoa(least)), Maximum: json.Number(itoa(most))}
}

func listOf(item *jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "array", Items: item}
}

func mapOf(item *jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "object", AdditionalProperties: item}
}

func defined(name string) *jsonschema.Schema {
	return &jsonschema.Schema{Ref: "#/$defs/" + name}
}

// forms returns what may be written for each field of that name, or for the field of one type:
// "Type.field".
func forms() map[string]*jsonschema.Schema {
	const (
		date  = `\d{4}-\d\d-\d\d`
		clock = `\d\d:\d\d:\d\d( ?(Z|[+-]\d\d:?\d\d))?`
		times = date + `([T ]` + clock + `)?|\d{8}(\d{6})?|@\d+`
		idMax = owner.MaxID
		ids   = `(0|[1-9][0-9]{0,9})`
		owned = `(` + ids + `|` + accounts + `)(:(` + ids + `|` + accounts + `))?`
	)
	line := matching(`^[^\x00-\x1f\x7f]+$`)
	paths := either(line, listOf(line))
	id := either(integer(0, idMax), matching(`^`+ids+`$`))
	label := &jsonschema.Schema{AnyOf: []*jsonschema.Schema{{Type: "string"}, {Type: "number"}, {Type: "boolean"}}}
	all := map[string]*jsonschema.Schema{
		"name":          matching(`^[A-Za-z0-9\[][A-Za-z0-9._:/\[\]-]*$`),
		"tag":           matching(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`),
		"fromImage":     line,
		"fromImageName": line,
		"fromImageTag":  matching(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`),
		"inherit":       oneOf(Choices("inherit")...),
		"variant":       line,
		"contents":      paths,
		"copyToRoot":    either(line, listOf(either(line, defined("Copy")))),
		"closure":       line,
		"storeDir":      matching(`^/[^\x00-\x1f\x7f]+$`),
		"maxLayers":     either(integer(1, MaxLayers), matching(`^0*[1-9][0-9]{0,2}$`)),
		"layering":      oneOf(Choices("layering")...),
		"previous":      line,
		"layerFormat":   either(integer(1, LayerFormat), matching(`^[1-`+itoa(LayerFormat)+`]$`)),
		"closureRoots":  oneOf(Choices("closureRoots")...),
		"layeringPipeline": either(line, listOf(&jsonschema.Schema{
			Type: "array", PrefixItems: []*jsonschema.Schema{{Type: "string"}}, MinItems: new(uint64(1)),
		})),
		"layers":        listOf(defined("Group")),
		"built":         line,
		"presets":       presetsForm(),
		"perms":         listOf(defined("PermRule")),
		"conflicts":     oneOf(Choices("conflicts")...),
		"config":        configForm(),
		"architecture":  oneOf(slices.Concat(Architectures(), arch.Aliases())...),
		"os":            oneOf(Choices("os")...),
		"created":       matching(`^(now|` + times + `)$`),
		"mtime":         matching(`^(` + times + `)$`),
		"treeMtime":     matching(`^(` + times + `)$`),
		"uid":           id,
		"gid":           id,
		"uname":         matching(`^[^\x00-\x1f\x7f]*$`),
		"gname":         matching(`^[^\x00-\x1f\x7f]*$`),
		"compressor":    matching(`^(none|gz(:[1-9])?|zstd(:([1-9]|1[0-9]|2[0-2]))?)$`),
		"args":          mapOf(either(label, &jsonschema.Schema{Type: "null"})),
		"annotations":   mapOf(label),
		"labels":        mapOf(either(label, &jsonschema.Schema{Type: "null"})),
		"source":        line,
		"target":        line,
		"PermRule.path": line,
		"mode":          either(integer(0, 7777), matching(`^(0o)?0*[0-7]{1,4}$`)),
		"owner":         either(integer(0, idMax), matching(`^`+owned+`$`)),
		"Copy.owner":    either(integer(0, idMax), matching(`^(keep|`+owned+`)$`)),
		"exclude":       either(line, listOf(line)),
		"ignoreFile":    line,
		"image":         line,
		"capabilities":  line,
	}
	maps.Copy(all, stepForms())
	maps.Copy(all, layerFileForms())
	return all
}

// accounts matches the name of a user or group.
const accounts = `[A-Za-z0-9_.-]*[A-Za-z_.-][A-Za-z0-9_.-]*\$?`

// layerFileForms returns the forms of the fields of LayerFiles.
func layerFileForms() map[string]*jsonschema.Schema {
	line := matching(`^[^\x00-\x1f\x7f]+$`)
	text := matching(`^[^:\x00-\x1f\x7f]*$`)
	place := matching(`^/[^:\x00-\x1f\x7f]*$`)
	account := matching(`^` + accounts + `$`)
	named := func(name string) *jsonschema.Schema {
		return either(account, listOf(either(account, defined(name))))
	}
	return map[string]*jsonschema.Schema{
		"content":        matching(`^[^\x00]*$`),
		"remove":         either(line, listOf(line)),
		"directories":    either(line, listOf(either(line, defined("Directory")))),
		"Directory.path": line,
		"symlinks":       mapOf(line),
		"users":          named("User"),
		"groups":         named("UserGroup"),
		"User.name":      account,
		"UserGroup.name": account,
		"group":          account,
		"User.groups":    either(account, listOf(account)),
		"members":        either(account, listOf(account)),
		"comment":        text,
		"home":           place,
		"User.shell":     place,
	}
}

// stepForms returns the forms of the scripts' fields.
func stepForms() map[string]*jsonschema.Schema {
	line := matching(`^[^\x00-\x1f\x7f]+$`)
	script := matching(`^[^\x00]*$`)
	mebibytes := either(integer(1, maxMebibytes), matching(`^0*[1-9][0-9]{0,7}$`))
	return map[string]*jsonschema.Schema{
		"extraCommands":     script,
		"fakeRootCommands":  script,
		"runAsRoot":         script,
		"shell":             line,
		"path":              either(line, listOf(line)),
		"isolation":         oneOf(Choices("isolation")...),
		"network":           oneOf(Choices("network")...),
		"diskSize":          mebibytes,
		"buildVMMemorySize": mebibytes,
	}
}

func presetsForm() *jsonschema.Schema {
	name := oneOf(Choices("presets")...)
	null := &jsonschema.Schema{Type: "null"}
	argument := either(matching(`^[^\x00-\x1f\x7f]+$`), null)
	lines := func(parts int) *jsonschema.Schema {
		part := `[^:\x00-\x1f\x7f]*`
		return either(listOf(matching(`^`+part+strings.Repeat(`:`+part, parts-1)+`$`)), null)
	}
	nss := jsonschema.NewProperties()
	nss.Set("extraPasswdLines", lines(7))
	nss.Set("extraGroupLines", lines(4))
	properties := jsonschema.NewProperties()
	forms := map[presetArgument]*jsonschema.Schema{
		noArgument: null, linkArgument: argument, fileArgument: argument,
		linesArgument: either(&jsonschema.Schema{Type: "object", Properties: nss, AdditionalProperties: jsonschema.FalseSchema}, null),
	}
	for _, p := range presetTable {
		properties.Set(p.name, forms[p.argument])
	}
	one := uint64(1)
	withArgument := &jsonschema.Schema{
		Type: "object", Properties: properties, AdditionalProperties: jsonschema.FalseSchema,
		MinProperties: &one, MaxProperties: &one,
	}
	return either(name, listOf(either(name, withArgument)))
}

// configForm accepts known keys in both cases of their first letter, and others.
func configForm() *jsonschema.Schema {
	keys := configKeys()
	s := &jsonschema.Schema{
		Type:              "object",
		Properties:        jsonschema.NewProperties(),
		PatternProperties: map[string]*jsonschema.Schema{},
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		form := either(configValueForm(keys[key]), &jsonschema.Schema{Type: "null"})
		if key == "StopTimeout" {
			form = either(form, matching(`^([0-9]+h)?([0-9]+m)?([0-9]+s)?$`))
		}
		s.Properties.Set(key, form)
		s.PatternProperties["^"+strings.ToLower(key[:1])+key[1:]+"$"] = form
	}
	return s
}

func configValueForm(kind configKind) *jsonschema.Schema {
	switch kind {
	case configString:
		return matching(`^[^\x00-\x1f\x7f]*$`)
	case configBool:
		return &jsonschema.Schema{Type: "boolean"}
	case configInteger:
		return &jsonschema.Schema{Type: "integer"}
	case configStrings:
		return listOf(matching(`^[^\x00]*$`))
	case configEnv:
		return listOf(matching(`^[^=\x00]+=[^\x00]*$`))
	case configSet, configPorts:
		return mapOf(either(&jsonschema.Schema{Type: "object"}, &jsonschema.Schema{Type: "null"}))
	case configLabels:
		return mapOf(either(&jsonschema.Schema{Type: "string"}, &jsonschema.Schema{Type: "null"}))
	default:
		return &jsonschema.Schema{Type: "object"}
	}
}

// allComments returns the comments of the fields in this package's files.
func allComments() (map[string]string, error) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		source, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		comments, err := fieldComments(string(source))
		if err != nil {
			return nil, err
		}
		maps.Copy(all, comments)
	}
	return all, nil
}

// fieldComments returns the comments of the fields in Go source as
// "Type.Field" -> one line of text.
func fieldComments(source string) (map[string]string, error) {
	file, err := parser.ParseFile(token.NewFileSet(), "types.go", source, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	comments := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		t, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if s, ok := t.Type.(*ast.StructType); ok {
			for _, f := range s.Fields.List {
				for _, name := range f.Names {
					comments[t.Name.Name+"."+name.Name] = strings.Join(strings.Fields(f.Doc.Text()), " ")
				}
			}
		}
		return false
	})
	return comments, nil
}
