package ordjson

import (
	"errors"
	"fmt"
	"strings"
)

// String returns the string that o has under key: the empty string for null and
// for a missing key.
func (o *Object) String(key string) (string, error) {
	v, _ := o.Get(key)
	s, ok := v.(string)
	if !ok && v != nil {
		return "", fmt.Errorf("%s: expected a string", key)
	}
	return s, nil
}

// Strings returns the list of strings that o has under key: nil for null and for
// a missing key.
func (o *Object) Strings(key string) ([]string, error) {
	v, _ := o.Get(key)
	if v == nil {
		return nil, nil
	}
	return StringList(key, v)
}

// StringList returns v as a list of strings; name is used in messages.
func StringList(name string, v any) ([]string, error) {
	list, ok := v.([]any)
	if !ok {
		return nil, fmt.Errorf("%s: expected a list of strings", name)
	}
	out := make([]string, len(list))
	for i, item := range list {
		if out[i], ok = item.(string); !ok {
			return nil, fmt.Errorf("%s[%d]: expected a string", name, i)
		}
	}
	return out, nil
}

// Object returns the object that o has under key: nil for null and for a missing
// key.
func (o *Object) Object(key string) (*Object, error) {
	v, _ := o.Get(key)
	child, ok := v.(*Object)
	if !ok && v != nil {
		return nil, fmt.Errorf("%s: expected an object", key)
	}
	return child, nil
}

// ParseObject reads the one object that data holds; keys are as in AsObject.
func ParseObject(data []byte, keys ...string) (*Object, error) {
	v, err := Parse(data)
	if err != nil {
		return nil, err
	}
	return AsObject(v, keys...)
}

// AsObject returns v, which must be an object. A key that differs from one of
// keys in nothing but case is an error: some readers would take one for the
// other.
func AsObject(v any, keys ...string) (*Object, error) {
	o, ok := v.(*Object)
	if !ok {
		return nil, errors.New("expected an object")
	}
	for _, m := range o.Members {
		for _, key := range keys {
			if m.Key != key && strings.EqualFold(m.Key, key) {
				return nil, fmt.Errorf("field %q: expected %q", m.Key, key)
			}
		}
	}
	return o, nil
}
