// Package ordjson reads and writes JSON whose objects keep the order of their keys, for image
// configs that have to be passed through as written.
//
// A value is nil, bool, string, json.Number, []any or *Object; int, int64 and []string can be
// written, too. Reading is
// strict: one value, no repeated keys, valid UTF-8, at most MaxDepth levels.
// Writing follows Python's json.dumps(value, indent=4), which nixpkgs uses:
// four spaces, everything outside ASCII escaped.
package ordjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxDepth is how many arrays and objects may stand inside one another.
const MaxDepth = 100

// Member is one key and value of an object.
type Member struct {
	Key   string
	Value any
}

// Object is a JSON object with its members in order. The nil Object has none.
type Object struct {
	Members []Member
}

// Get returns the value of key and whether there is one.
func (o *Object) Get(key string) (any, bool) {
	if o == nil {
		return nil, false
	}
	for _, m := range o.Members {
		if m.Key == key {
			return m.Value, true
		}
	}
	return nil, false
}

// Set gives key a value: in its place if the object has the key, else at the
// end.
func (o *Object) Set(key string, value any) {
	for i := range o.Members {
		if o.Members[i].Key == key {
			o.Members[i].Value = value
			return
		}
	}
	o.Members = append(o.Members, Member{key, value})
}

// Delete takes key out of the object.
func (o *Object) Delete(key string) {
	o.Members = slices.DeleteFunc(o.Members, func(m Member) bool { return m.Key == key })
}

// Parse reads the one value that data holds.
func Parse(data []byte) (any, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("invalid UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	p := &parser{dec, map[any]any{}}
	v, err := p.value(0)
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("offset %d: %w", dec.InputOffset(), err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("offset %d: more after the end of the value", dec.InputOffset())
	}
	return v, nil
}

// maxShared is how many numbers and strings are held once that may stand anywhere,
// and shareable how long they may be, in bytes: a few MB have room for millions.
const (
	maxShared = 10_000
	shareable = 4
)

type parser struct {
	*json.Decoder
	// shared are short scalars that were read before.
	shared map[any]any
}

func (p *parser) value(depth int) (any, error) {
	tok, err := p.Token()
	if err != nil {
		return nil, err
	}
	delim, ok := tok.(json.Delim)
	if !ok {
		return p.scalar(tok), nil
	}
	if depth == MaxDepth {
		return nil, fmt.Errorf("nested deeper than %d levels", MaxDepth)
	}
	if delim == '[' {
		return p.array(depth + 1)
	}
	return p.object(depth + 1)
}

// scalar returns tok, or an equal value that was read before.
func (p *parser) scalar(tok any) any {
	switch v := tok.(type) {
	case string:
		if len(v) > shareable {
			return tok
		}
	case json.Number:
		if len(v) > shareable {
			return tok
		}
	default:
		return tok
	}
	if known, ok := p.shared[tok]; ok {
		return known
	}
	if len(p.shared) < maxShared {
		p.shared[tok] = tok
	}
	return tok
}

func (p *parser) array(depth int) (any, error) {
	list := []any{}
	for p.More() {
		v, err := p.value(depth)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	_, err := p.Token()
	return list, err
}

func (p *parser) object(depth int) (any, error) {
	o := &Object{}
	var keys keySet
	for p.More() {
		tok, err := p.Token()
		if err != nil {
			return nil, err
		}
		key, ok := tok.(string)
		if !ok {
			return nil, fmt.Errorf("key %v is not a string", tok)
		}
		if !keys.add(o, key) {
			return nil, fmt.Errorf("key %q given twice", key)
		}
		v, err := p.value(depth)
		if err != nil {
			return nil, err
		}
		o.Members = append(o.Members, Member{key, v})
	}
	_, err := p.Token()
	return o, err
}

// keySet holds the keys of an object, once there are many: most have few.
type keySet map[string]struct{}

// fewKeys is how many keys are looked at one after the other.
const fewKeys = 16

// add notes key and reports whether it is new to o.
func (k *keySet) add(o *Object, key string) bool {
	if len(o.Members) < fewKeys {
		_, ok := o.Get(key)
		return !ok
	}
	if *k == nil {
		*k = keySet{}
		for _, m := range o.Members {
			(*k)[m.Key] = struct{}{}
		}
	}
	_, ok := (*k)[key]
	(*k)[key] = struct{}{}
	return !ok
}

// Marshal writes v with an indent of four spaces, ASCII only, no newline at
// the end.
func Marshal(v any) ([]byte, error) {
	return appendValue(nil, v, "\n")
}

// MarshalCompact writes v in one line without spaces, in UTF-8, as Nix's
// builtins.toJSON does.
func MarshalCompact(v any) ([]byte, error) {
	return appendValue(nil, v, "")
}

// appendValue writes v; newline is a line end and the indent of the line that
// v starts on, or empty for the compact form.
func appendValue(dst []byte, v any, newline string) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...), nil
	case bool:
		return strconv.AppendBool(dst, v), nil
	case string:
		return appendString(dst, v, newline == ""), nil
	case json.Number:
		return append(dst, normalNumber(v)...), nil
	case int:
		return strconv.AppendInt(dst, int64(v), 10), nil
	case int64:
		return strconv.AppendInt(dst, v, 10), nil
	case []string:
		return appendList(dst, '[', ']', len(v), newline, func(dst []byte, i int, newline string) ([]byte, error) {
			return appendValue(dst, v[i], newline)
		})
	case []any:
		return appendList(dst, '[', ']', len(v), newline, func(dst []byte, i int, newline string) ([]byte, error) {
			return appendValue(dst, v[i], newline)
		})
	case *Object:
		if v == nil {
			v = &Object{}
		}
		return appendList(dst, '{', '}', len(v.Members), newline, func(dst []byte, i int, newline string) ([]byte, error) {
			dst = append(appendString(dst, v.Members[i].Key, newline == ""), ':')
			if newline != "" {
				dst = append(dst, ' ')
			}
			return appendValue(dst, v.Members[i].Value, newline)
		})
	}
	return nil, fmt.Errorf("cannot write a %T as JSON", v)
}

func appendList(dst []byte, open, end byte, n int, newline string, item func([]byte, int, string) ([]byte, error)) ([]byte, error) {
	dst = append(dst, open)
	inner := newline
	if newline != "" {
		inner += "    "
	}
	for i := range n {
		if i > 0 {
			dst = append(dst, ',')
		}
		var err error
		if dst, err = item(append(dst, inner...), i, inner); err != nil {
			return nil, err
		}
	}
	if n > 0 {
		dst = append(dst, newline...)
	}
	return append(dst, end), nil
}

const hexDigits = "0123456789abcdef"

// appendString writes s, in UTF-8 or in ASCII.
func appendString(dst []byte, s string, utf8 bool) []byte {
	dst = append(dst, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r == '\n':
			dst = append(dst, `\n`...)
		case r == '\r':
			dst = append(dst, `\r`...)
		case r == '\t':
			dst = append(dst, `\t`...)
		case r == '\b':
			dst = append(dst, `\b`...)
		case r == '\f':
			dst = append(dst, `\f`...)
		case r >= ' ' && r <= '~':
			dst = append(dst, byte(r))
		case utf8 && r >= ' ':
			dst = append(dst, string(r)...)
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			dst = appendEscape(appendEscape(dst, hi), lo)
		default:
			dst = appendEscape(dst, r)
		}
	}
	return append(dst, '"')
}

func appendEscape(dst []byte, r rune) []byte {
	return append(dst, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
}

// normalNumber writes integers as they are and other numbers as Python's repr
// of the float nearest to them.
func normalNumber(n json.Number) string {
	s := string(n)
	if !strings.ContainsAny(s, ".eE") {
		if s == "-0" {
			return "0"
		}
		return s
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil { // out of a float's range
		return s
	}
	abs := math.Abs(f)
	if abs != 0 && (abs < 1e-4 || abs >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	s = strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}
