package ordjson

import (
	"strings"
	"testing"
)

func TestMarshal(t *testing.T) {
	// want was printed by Python's json.dumps(json.loads(in), indent=4).
	for _, tt := range []struct{ in, want string }{
		{`{}`, `{}`},
		{`[]`, `[]`},
		{`{"b":1,"a":[true,null,"x"],"c":{}}`, "{\n    \"b\": 1,\n    \"a\": [\n        true,\n        null,\n        \"x\"\n    ],\n    \"c\": {}\n}"},
		{`"<&>\u003c\u2028é😀"`, `"<&><\u2028\u00e9\ud83d\ude00"`},
		{`"\b\f\n\r\t\u0000\u007f\"\\\/"`, `"\b\f\n\r\t\u0000\u007f\"\\/"`},
		{`[1.0,1e5,1E+2,1e16,123456789012345678901234567890,1e-5,0.0001,-0.0,-0,1.5e300]`,
			"[\n    1.0,\n    100000.0,\n    100.0,\n    1e+16,\n    123456789012345678901234567890,\n    1e-05,\n    0.0001,\n    -0.0,\n    0,\n    1.5e+300\n]"},
	} {
		v, err := Parse([]byte(tt.in))
		if err != nil {
			t.Errorf("Parse(%s): %v", tt.in, err)
			continue
		}
		got, err := Marshal(v)
		if err != nil || string(got) != tt.want {
			t.Errorf("Marshal(%s) = %s, %v; want %s", tt.in, got, err, tt.want)
		}
	}
}

func TestMarshalCompact(t *testing.T) {
	// want was printed by Nix, of builtins.toJSON (builtins.fromJSON in).
	for _, tt := range []struct{ in, want string }{
		{`{}`, `{}`},
		{`[]`, `[]`},
		{`{"a": [true, null, "x", -1], "b": {"c": {}}}`, `{"a":[true,null,"x",-1],"b":{"c":{}}}`},
		{`"<&>\u003c\u2028é😀\u007f\"\\\n\r\t/"`, "\"<&><\u2028é😀\u007f\\\"\\\\\\n\\r\\t/\""},
	} {
		v, err := Parse([]byte(tt.in))
		if err != nil {
			t.Errorf("Parse(%s): %v", tt.in, err)
			continue
		}
		got, err := MarshalCompact(v)
		if err != nil || string(got) != tt.want {
			t.Errorf("MarshalCompact(%s) = %s, %v; want %s", tt.in, got, err, tt.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{``, "unexpected EOF"},
		{`{"a":1,"a":2}`, `key "a" given twice`},
		{`{} {}`, "more after the end"},
		{`{"a":`, "unexpected EOF"},
		{"\"\xff\"", "invalid UTF-8"},
		{strings.Repeat("[", 10000), "nested deeper"},
		{`{"a" 1}`, "invalid character"},
	} {
		if _, err := Parse([]byte(tt.in)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Parse(%.40q) = %v, want an error with %q", tt.in, err, tt.want)
		}
	}
}

func TestObject(t *testing.T) {
	o := &Object{}
	o.Set("a", "1")
	o.Set("b", "2")
	o.Set("a", "3")
	if v, ok := o.Get("a"); !ok || v != "3" || o.Members[0].Key != "a" {
		t.Errorf("after Set: %v", o.Members)
	}
	o.Delete("a")
	if _, ok := o.Get("a"); ok || len(o.Members) != 1 {
		t.Errorf("after Delete: %v", o.Members)
	}
	var none *Object
	if _, ok := none.Get("a"); ok {
		t.Error("a nil object has a member")
	}
}
