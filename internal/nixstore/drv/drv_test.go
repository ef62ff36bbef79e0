package drv

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	outPath = "/nix/store/5pyppwda5h0yhy7qz8k21bs8nyvldcq1-a"
	srcPath = "/nix/store/ghvd6qm356m5f58g93r2sb0sfrkvsv0w-c"
	drvPath = "/nix/store/p9rz57rrd5hb8gsk9fcjgcv7iqszshja-b-1.0.drv"
	sum     = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

// fill replaces $out, $src, $drv and $sum.
func fill(s string) string {
	return strings.NewReplacer("$out", outPath, "$src", srcPath, "$drv", drvPath, "$sum", sum).Replace(s)
}

// whole has something in every field.
const whole = `Derive([("dev","$src","",""),("out","$out","","")],[("$drv",["dev","out"])],["$out","$src"],"x86_64-linux","/bin/sh",["-c","echo \"\\\n\r\t$out"],[("PATH",""),("out","$out")])`

func TestParse(t *testing.T) {
	got, err := parse("", []byte(fill(whole)))
	want := &Derivation{
		Outputs: []Output{{Name: "dev", Kind: InputAddressed, Path: srcPath}, {Name: "out", Kind: InputAddressed, Path: outPath}},
		Inputs:  []Input{{drvPath, []string{"dev", "out"}}},
		Sources: []string{outPath, srcPath},
		System:  "x86_64-linux", Builder: "/bin/sh", Args: []string{"-c", "echo \"\\\n\r\t" + outPath},
		Env: []Variable{{"PATH", ""}, {"out", outPath}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
	if v, ok := got.Get("out"); v != outPath || !ok {
		t.Errorf("Get(out) = %q, %v", v, ok)
	}
	if v, ok := got.Get("none"); ok {
		t.Errorf("Get(none) = %q", v)
	}
}

// minimal is a derivation with one output.
func minimal(output string) string { return fill(`Derive([` + output + `],[],[],"s","b",[],[])`) }

func TestOutputs(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want Output
	}{
		{`("out","$out","","")`, Output{Kind: InputAddressed, Path: outPath}},
		{`("out","","","")`, Output{Kind: Deferred}},
		{`("out","$out","sha256","$sum")`, Output{Kind: Fixed, Path: outPath, Method: "flat", Algorithm: "sha256", Hash: sum}},
		{`("out","$out","r:sha256","$sum")`, Output{Kind: Fixed, Path: outPath, Method: "nar", Algorithm: "sha256", Hash: sum}},
		{`("out","$out","text:md5","` + sum[:32] + `")`, Output{Kind: Fixed, Path: outPath, Method: "text", Algorithm: "md5", Hash: sum[:32]}},
		{`("out","","r:sha512","")`, Output{Kind: Floating, Method: "nar", Algorithm: "sha512"}},
		{`("out","","git:sha1","impure")`, Output{Kind: Impure, Method: "git", Algorithm: "sha1"}},
	} {
		tt.want.Name = "out"
		d, err := parse("", []byte(minimal(tt.in)))
		if err != nil || d.Outputs[0] != tt.want {
			t.Errorf("%s: %+v, %v, want %+v", tt.in, d, err, tt.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	good := fill(whole)
	for _, tt := range []struct{ name, in, want string }{
		{"empty", "", "ends too early"},
		{"garbage", "\x7fELF", `byte 0: got "\x7fELF", want "Derive("`},
		{"trailing bytes", good + "\n", "bytes after the end"},
		{"white space", strings.Replace(good, ",[", ", [", 1), `got " [`},
		{"escape", strings.Replace(good, `\n`, `\x`, 1), `"\\x" is not a valid escape`},
		{"escape at the end", `Derive([("o\`, `"\\" is not a valid escape`},
		{"raw newline", strings.Replace(good, `\n`, "\n", 1), `a string holds '\n' as it is`},
		{"NUL", strings.Replace(good, "echo", "ec\x00o", 1), `a string holds '\x00' as it is`},
		{"no outputs", `Derive([],[],[],"s","b",[],[])`, "it has no output"},
		{"outputs in disorder", minimal(`("out","$out","",""),("dev","$src","","")`), `output "dev" after "out"`},
		{"output twice", minimal(`("out","$out","",""),("out","$src","","")`), `output "out" after "out"`},
		{"output without a name", minimal(`("","$out","","")`), `called ""`},
		{"output is a path", minimal(`("../x","$out","","")`), `called "../x"`},
		{"output outside", minimal(`("out","/etc/passwd","","")`), `"/etc/passwd" is not in the store`},
		{"output climbs", minimal(`("out","/nix/store/../x","","")`), "is not a store path"},
		{"hash alone", minimal(`("out","$out","","$sum")`), "a hash without an algorithm"},
		{"unknown algorithm", minimal(`("out","$out","crc32","$sum")`), `unknown hash algorithm "crc32"`},
		{"unknown method", minimal(`("out","$out","x:sha256","$sum")`), `unknown hash algorithm "x:sha256"`},
		{"empty method", minimal(`("out","$out",":sha256","$sum")`), `unknown hash algorithm ":sha256"`},
		{"short hash", minimal(`("out","$out","sha256","abcd")`), `"abcd" is not a valid sha256`},
		{"upper case", minimal(`("out","$out","sha256","` + strings.ToUpper(sum) + `")`), "is not a valid sha256 in hexadecimal"},
		{"fixed without a path", minimal(`("out","","sha256","$sum")`), "one of path and hash"},
		{"floating with a path", minimal(`("out","$out","sha256","")`), "one of path and hash"},
		{"input outside", fill(`Derive([("out","$out","","")],[("/x.drv",["out"])],[],"s","b",[],[])`), `"/x.drv" is not in the store`},
		{"inputs in disorder", fill(`Derive([("out","$out","","")],[("$drv",["out"]),("$out",["out"])],[],"s","b",[],[])`), "not in order"},
		{"sources in disorder", fill(`Derive([("out","$out","","")],[],["$src","$out"],"s","b",[],[])`), "source"},
		{"variables in disorder", fill(`Derive([("out","$out","","")],[],[],"s","b",[],[("b",""),("a","")])`), `variable "a" after "b"`},
		{"variable twice", fill(`Derive([("out","$out","","")],[],[],"s","b",[],[("",""),("","")])`), `variable "" after ""`},
		{"comma at the end", fill(`Derive([("out","$out","",""),],[],[],"s","b",[],[])`), `want "("`},
		{"dynamic", `DrvWithVersion("xp-dyn-drv",[("out","","r:sha256","")],[],[],"s","b",[],[])`, `dynamic derivation (version "xp-dyn-drv")`},
		{"dynamic, cut", `DrvWithVersion("xp`, "ends within a string"},
	} {
		d, err := parse("", []byte(tt.in))
		if err == nil || !strings.HasPrefix(err.Error(), "byte ") || !strings.Contains(err.Error(), tt.want) || d != nil {
			t.Errorf("%s: %v, %v, want %s", tt.name, d, err, tt.want)
		}
	}
	for i := range good {
		if _, err := parse("", []byte(good[:i])); err == nil || !strings.Contains(err.Error(), "ends ") && !strings.Contains(err.Error(), "not a valid escape") {
			t.Errorf("cut at byte %d: %v", i, err)
		}
	}
}

func TestStructured(t *testing.T) {
	for _, tt := range []struct{ value, want, err string }{
		{`{\"outputs\":[\"out\"]}`, "[out]", ""},
		{`[]`, "", "expected an object"},
		{`{`, "", "unexpected EOF"},
	} {
		d, err := parse("", []byte(fill(`Derive([("out","$out","","")],[],[],"s","b",[],[("__json","`+tt.value+`")])`)))
		if err != nil {
			t.Fatal(err)
		}
		o, err := d.Structured()
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), "read structured attributes: ") || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: %v, want %s", tt.value, err, tt.err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if names, err := o.Strings("outputs"); fmt.Sprint(names) != tt.want || err != nil {
			t.Errorf("%s: outputs %q, %v", tt.value, names, err)
		}
	}
	plain, err := parse("", []byte(fill(whole)))
	if err != nil {
		t.Fatal(err)
	}
	if o, err := plain.Structured(); o != nil || err != nil {
		t.Errorf("no structured attributes are %v, %v", o, err)
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	file, fifo := filepath.Join(dir, "x.drv"), filepath.Join(dir, "fifo")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(fill(whole), "/nix/store", "/s")), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(fifo, 0o644); err != nil {
		t.Fatal(err)
	}
	if d, err := Read("/s", "", file); err != nil || len(d.Outputs) != 2 {
		t.Errorf("Read: %v, %v", d, err)
	}
	for name, want := range map[string]string{
		file:          `x.drv": byte `,
		fifo:          `fifo": it is a FIFO`,
		dir:           "it is a directory",
		dir + "/none": `none": no such file`,
	} {
		if _, err := Read("", "", name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
}

// write writes a derivation as Nix does.
func write(d *Derivation) []byte {
	var b bytes.Buffer
	quote := func(s string) string {
		return `"` + strings.NewReplacer(`"`, `\"`, `\`, `\\`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(s) + `"`
	}
	list := func(list []string) string { return "[" + strings.Join(list, ",") + "]" }
	quoted := func(all []string) string {
		var texts []string
		for _, s := range all {
			texts = append(texts, quote(s))
		}
		return list(texts)
	}
	var outputs, inputs, env []string
	prefix := map[string]string{"nar": "r:", "text": "text:", "git": "git:"}
	for _, o := range d.Outputs {
		if o.Kind == Impure {
			o.Hash = "impure"
		}
		outputs = append(outputs, "("+strings.Join([]string{quote(o.Name), quote(o.Path), quote(prefix[o.Method] + o.Algorithm), quote(o.Hash)}, ",")+")")
	}
	for _, i := range d.Inputs {
		inputs = append(inputs, "("+quote(i.Path)+","+quoted(i.Outputs)+")")
	}
	for _, v := range d.Env {
		env = append(env, "("+quote(v.Name)+","+quote(v.Value)+")")
	}
	fmt.Fprintf(&b, "Derive(%s,%s,%s,%s,%s,%s,%s)", list(outputs), list(inputs), quoted(d.Sources), quote(d.System), quote(d.Builder), quoted(d.Args), list(env))
	return b.Bytes()
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(fill(whole)))
	f.Add([]byte(minimal(`("out","","git:sha1","impure")`)))
	f.Add([]byte(minimal(`("out","$out","r:sha256","$sum")`)))
	f.Add([]byte(`DrvWithVersion("x",[],[],[],"","",[],[])`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := parse("", data)
		if err == nil && !bytes.Equal(write(d), data) {
			t.Errorf("%q is not how Nix writes it: %q", data, write(d))
		}
	})
}
