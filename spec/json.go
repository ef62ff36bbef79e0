package spec

import (
	"bytes"
	"encoding/json"
	"strings"
)

// isJSON reports whether data is a JSON object, syntactically.
func isJSON(data []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{")) && json.Valid(data)
}

// jsonReader makes nodes of JSON that is known to be valid (RFC 8259).
type jsonReader struct {
	dec *json.Decoder
	at  *cursor
	p   *problems
}

// readJSON returns the value of data, or nil if it is nested too deep.
func readJSON(data []byte, p *problems) *node {
	r := &jsonReader{dec: json.NewDecoder(bytes.NewReader(data)), at: newCursor(data), p: p}
	r.dec.UseNumber()
	return r.value(1)
}

// next returns the next token, its text as written and an empty node at its
// place.
func (r *jsonReader) next() (tok json.Token, raw string, n *node) {
	start := int(r.dec.InputOffset())
	tok, err := r.dec.Token()
	if err != nil {
		r.p.add(r.at.node(null), "", "read JSON: %v", err)
		return nil, "", nil
	}
	for strings.IndexByte(" \t\r\n,:", r.at.data[start]) >= 0 {
		start++
	}
	n = r.at.to(start).node(null)
	return tok, string(r.at.data[start:r.dec.InputOffset()]), n
}

func (r *jsonReader) value(depth int) *node {
	tok, raw, n := r.next()
	switch tok := tok.(type) {
	case string:
		r.setString(n, tok, raw)
	case json.Number:
		n.kind, n.text = number, raw
	case bool:
		n.kind, n.text = boolean, raw
	case json.Delim:
		if depth > MaxDepth {
			r.p.add(n, "", "nested deeper than %d levels", MaxDepth)
			return nil
		}
		if tok == '[' {
			return r.list(n, depth+1)
		}
		return r.object(n, depth+1)
	}
	return n
}

func (r *jsonReader) list(n *node, depth int) *node {
	n.kind = list
	for r.dec.More() {
		item := r.value(depth)
		if item == nil {
			return nil
		}
		n.items = append(n.items, item)
	}
	_, _, end := r.next()
	if end == nil {
		return nil
	}
	return n
}

func (r *jsonReader) object(n *node, depth int) *node {
	n.kind = object
	for r.dec.More() {
		tok, raw, key := r.next()
		if key == nil {
			return nil
		}
		name, _ := tok.(string)
		r.setString(key, name, raw)
		value := r.value(depth)
		if value == nil {
			return nil
		}
		n.members = append(n.members, member{key, value})
	}
	_, _, end := r.next()
	if end == nil {
		return nil
	}
	return n
}

// setString makes n a string. The decoder silently reads half of a surrogate
// pair as U+FFFD; such a string is refused.
func (r *jsonReader) setString(n *node, s, raw string) {
	n.kind, n.text = text, s
	written := strings.Count(raw, "\ufffd") + strings.Count(strings.ToLower(raw), `\ufffd`)
	if strings.Count(s, "\ufffd") > written {
		r.p.add(n, "", "%s holds half of a surrogate pair", quote(raw))
		n.kind = invalid
	}
}
