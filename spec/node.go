package spec

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxSize limits how many bytes of input are read.
const MaxSize = 8 << 20

// MaxDepth limits how deep lists and objects may be nested.
const MaxDepth = 100

// maxMarks limits how many characters that end a line or begin a value are read.
// A value costs some hundred bytes of memory, so MaxSize alone would allow
// gigabytes.
const maxMarks = 500_000

// kind is the kind of a node.
type kind int

const (
	// invalid nodes have been reported already: they cause no further errors.
	invalid kind = iota
	null
	boolean
	number
	text
	list
	object
)

// node is one value of an input, in whatever format it was written.
type node struct {
	kind kind
	// text is a string's value, and a number's or bool's text as written.
	text    string
	items   []*node
	members []member
	// flag names the setting that the node comes from; otherwise line and
	// column, from 1, say where it is.
	flag string
	// replaced says that variables made the text.
	replaced     bool
	line, column int
}

// member is one key and value of an object; key is a text node.
type member struct {
	key, value *node
}

// loose reports whether a text may stand for a number or a truth value: it comes from a setting, or
// from variables.
func (n *node) loose() bool { return n.flag != "" || n.replaced }

// describe returns what n is, for "got …".
func (n *node) describe() string {
	switch n.kind {
	case null:
		return "null"
	case boolean:
		return n.text
	case number:
		return "the number " + clip(n.text)
	case text:
		return quote(n.text)
	case list:
		return "a list"
	case object:
		return "an object"
	}
	return "nothing usable"
}

// clip returns s, a number or a name that usually needs no quotes, for a
// message.
func clip(s string) string {
	if len(s) <= maxQuoted && isWord(strings.ReplaceAll(s, ".", "")) {
		return s
	}
	return quote(s)
}

// index returns the place of the member whose key is name, or -1.
func (n *node) index(name string) int {
	for i, m := range n.members {
		if m.key.text == name {
			return i
		}
	}
	return -1
}

// unique reports members of n and below whose key is repeated, and removes them.
func (p *problems) unique(n *node, field string) {
	for i, item := range n.items {
		p.unique(item, field+"["+itoa(i)+"]")
	}
	first := make(map[string]*node, len(n.members))
	kept := n.members[:0]
	for _, m := range n.members {
		name := joinField(field, m.key.text)
		if before, ok := first[m.key.text]; ok {
			p.add(m.key, name, "given twice, first on line %d", before.line)
			continue
		}
		first[m.key.text] = m.key
		kept = append(kept, m)
		p.unique(m.value, name)
	}
	n.members = kept
}

// fieldName returns key as the last part of a field's path.
func fieldName(key string) string {
	if isWord(key) {
		return key
	}
	return "[" + quote(key) + "]"
}

// joinField returns the path of key inside field.
func joinField(field, key string) string {
	name := fieldName(key)
	if field == "" || strings.HasPrefix(name, "[") {
		return field + name
	}
	return field + "." + name
}

func isWord(s string) bool {
	for _, r := range s {
		if r > '~' || r <= ' ' || strings.ContainsRune("\"'[].\\", r) {
			return false
		}
	}
	return s != "" && len(s) <= maxQuoted
}

// readTree returns the object that data holds. If data cannot be read to its
// end, it reports why to p and returns nil.
func readTree(data []byte, p *problems) *node {
	if at, msg := badText(data); msg != "" {
		place := newCursor(data).to(at)
		p.add(place.node(null), "", "%s", msg)
		return nil
	}
	if marks(data) > maxMarks {
		p.add(&node{}, "", "more than %d lines and values: that is not a spec", maxMarks)
		return nil
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	var root *node
	if isJSON(data) {
		root = readJSON(data, p)
	} else {
		root = readYAML(data, p)
	}
	if root != nil && root.kind != object && root.kind != invalid {
		p.add(root, "", "got %s, want an object with the fields of an image", root.describe())
		return nil
	}
	if root != nil {
		p.unique(root, "")
	}
	return root
}

// marks counts the characters that maxMarks limits.
func marks(data []byte) int {
	n := bytes.Count(data, []byte("- ")) + bytes.Count(data, []byte("? "))
	for _, b := range data {
		switch b {
		case '\n', '\r', ',', ':', '[', '{':
			n++
		}
	}
	return n
}

// badText returns where data holds something that is not text, and what.
func badText(data []byte) (offset int, message string) {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return i, fmt.Sprintf("byte 0x%02x: the text is not UTF-8", data[i])
		case r < ' ' && r != '\t' && r != '\n' && r != '\r', r == 0x7f:
			return i, fmt.Sprintf("control character 0x%02x: write it as an escape in a quoted string", r)
		}
		i += size
	}
	return 0, ""
}

// cursor walks over data and knows its line and column.
type cursor struct {
	data         []byte
	offset       int
	line, column int
}

func newCursor(data []byte) *cursor {
	return &cursor{data: data, line: 1, column: 1}
}

// to moves forward to offset.
func (c *cursor) to(offset int) *cursor {
	for ; c.offset < offset && c.offset < len(c.data); c.offset++ {
		switch b := c.data[c.offset]; {
		case b == '\n':
			c.line, c.column = c.line+1, 1
		case utf8.RuneStart(b):
			c.column++
		}
	}
	return c
}

// node returns an empty node at the cursor's place.
func (c *cursor) node(k kind) *node {
	return &node{kind: k, line: c.line, column: c.column}
}
