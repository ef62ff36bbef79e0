package spec

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"go.yaml.in/yaml/v4"
)

// readYAML returns the value of data, the one document of a YAML 1.2 stream,
// or nil after an error that leaves nothing to look at.
func readYAML(data []byte, p *problems) *node {
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		p.add(&node{}, "", "read YAML: %v", err)
		return nil
	}
	var doc, next yaml.Node
	switch err := loader.Load(&doc); {
	case errors.Is(err, io.EOF):
		p.add(&node{}, "", "the spec is empty: it needs at least a name")
		return nil
	case err != nil:
		yamlError(p, err)
		return nil
	}
	switch err := loader.Load(&next); {
	case err == nil:
		p.add(&node{line: next.Line, column: next.Column}, "", "a second document: a spec is one document")
	case !errors.Is(err, io.EOF):
		yamlError(p, err)
		return nil
	}
	if len(doc.Content) != 1 {
		return nil
	}
	r := yamlReader{p}
	return r.value(doc.Content[0], 1)
}

// yamlError reports an error of the YAML library in this package's words.
func yamlError(p *problems, err error) {
	n, msg := &node{}, err.Error()
	if e, ok := errors.AsType[*yaml.LoadError](err); ok {
		n.line, n.column = max(e.Mark.Line, 1), max(e.Mark.Column, 1)
		msg = e.Message
		if e.ContextMsg != "" {
			msg = e.ContextMsg + ": " + msg
		}
		if strings.Contains(msg, "cannot start any token") {
			msg += `; put values that begin with @, %, a tab or a backquote in quotes`
		}
	}
	p.add(n, "", "bad YAML: %s", strings.ReplaceAll(msg, "\n", " "))
}

// yamlReader converts the YAML library's nodes.
type yamlReader struct {
	p *problems
}

// value returns y's value. It returns nil when y is nested too deep.
func (r yamlReader) value(y *yaml.Node, depth int) *node {
	n := &node{line: y.Line, column: y.Column}
	if !r.plain(y, n) {
		return n
	}
	if y.Kind != yaml.ScalarNode && depth > MaxDepth {
		r.p.add(n, "", "nested deeper than %d levels", MaxDepth)
		return nil
	}
	switch y.Kind {
	case yaml.ScalarNode:
		n.kind, n.text = scalarKind(y), y.Value
	case yaml.SequenceNode:
		n.kind = list
		for _, c := range y.Content {
			item := r.value(c, depth+1)
			if item == nil {
				return nil
			}
			n.items = append(n.items, item)
		}
	case yaml.MappingNode:
		return r.mapping(y, n, depth+1)
	}
	return n
}

// plain reports whether y does without anchors, aliases and tags.
func (r yamlReader) plain(y *yaml.Node, n *node) bool {
	switch {
	case y.Kind == yaml.AliasNode:
		r.p.add(n, "", "alias *%s: aliases are not supported; write the value out", clip(y.Value))
	case y.Anchor != "":
		r.p.add(n, "", "anchor &%s: anchors are not supported; remove it", clip(y.Anchor))
	case y.Style&yaml.TaggedStyle != 0:
		r.p.add(n, "", "tag %s: tags are not supported; remove it, and put a string in quotes", clip(y.Tag))
	default:
		return true
	}
	return false
}

func (r yamlReader) mapping(y *yaml.Node, n *node, depth int) *node {
	n.kind = object
	for i := 0; i+1 < len(y.Content); i += 2 {
		key := r.value(y.Content[i], depth)
		value := r.value(y.Content[i+1], depth)
		if key == nil || value == nil {
			return nil
		}
		switch {
		case key.kind == invalid:
		case y.Content[i].ShortTag() == "!!merge":
			r.p.add(key, "", "merge key <<: merge keys are not supported; write the fields out")
		case key.kind == null, key.kind == list, key.kind == object:
			r.p.add(key, "", "got %s for a key, want a string", key.describe())
		default:
			key.kind = text
			n.members = append(n.members, member{key, value})
		}
	}
	return n
}

// scalarKind returns what y's text means in YAML 1.2's core schema. Times are
// strings, as they are in JSON.
func scalarKind(y *yaml.Node) kind {
	switch y.ShortTag() {
	case "!!null":
		return null
	case "!!bool":
		return boolean
	case "!!int", "!!float":
		return number
	}
	return text
}
