package drv

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/varve-image/varve/internal/nixstore"
)

// methods maps the prefixes of an algorithm to the methods they stand for.
var methods = map[string]string{"": "flat", "r": "nar", "text": "text", "git": "git"}

// parser reads a text from its beginning. The first error ends it: after that it
// reads nothing.
type parser struct {
	storeDir string
	data     []byte
	at       int
	err      error
}

func parse(storeDir string, data []byte) (*Derivation, error) {
	p := &parser{storeDir: storeDir, data: data}
	d := p.derivation()
	if p.err == nil && p.at < len(data) {
		p.fail("there are bytes after the end")
	}
	if p.err != nil {
		return nil, p.err
	}
	return d, nil
}

func (p *parser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf("byte %d: "+format, append([]any{p.at}, args...)...)
	}
}

func (p *parser) derivation() *Derivation {
	if bytes.HasPrefix(p.data, []byte("DrvWithVersion(")) {
		p.word("DrvWithVersion(")
		p.fail("it is a dynamic derivation (version %.100q), whose inputs are known only once others are built: these are not supported", p.text())
		return nil
	}
	d := &Derivation{}
	p.word("Derive(")
	inOrder(p, "output", func() string {
		o := p.output()
		d.Outputs = append(d.Outputs, o)
		return o.Name
	})
	p.word(",")
	inOrder(p, "input", func() string {
		input := p.input()
		d.Inputs = append(d.Inputs, input)
		return input.Path
	})
	p.word(",")
	inOrder(p, "source", func() string {
		source := p.storePath()
		d.Sources = append(d.Sources, source)
		return source
	})
	p.word(",")
	d.System = p.text()
	p.word(",")
	d.Builder = p.text()
	p.word(",")
	p.list(func() { d.Args = append(d.Args, p.text()) })
	p.word(",")
	inOrder(p, "variable", func() string {
		v := p.variable()
		d.Env = append(d.Env, v)
		return v.Name
	})
	p.word(")")
	if len(d.Outputs) == 0 {
		p.fail("it has no output")
	}
	return d
}

func (p *parser) output() Output {
	p.word("(")
	o := Output{Name: p.text()}
	p.word(",")
	path := p.text()
	p.word(",")
	algorithm := p.text()
	p.word(",")
	o.Hash = p.text()
	p.word(")")
	if p.err != nil {
		return o
	}
	if o.Name == "" || strings.ContainsAny(o.Name, "/\x00") {
		p.fail("an output is called %.100q", o.Name)
	}
	if o.Path = path; path != "" {
		p.checkPath(path)
	}
	if err := o.classify(algorithm); err != nil {
		p.fail("output %.100q: %w", o.Name, err)
	}
	return o
}

// classify determines the kind of an output from which of path and hash are set.
func (o *Output) classify(algorithm string) error {
	if algorithm == "" {
		switch {
		case o.Hash != "":
			return errors.New("it has a hash without an algorithm")
		case o.Path == "":
			o.Kind = Deferred
		default:
			o.Kind = InputAddressed
		}
		return nil
	}
	prefix, name, found := strings.Cut(algorithm, ":")
	if !found {
		prefix, name = "", algorithm
	}
	method, ok := methods[prefix]
	if size := nixstore.HashSize(name); !ok || found && prefix == "" || size == 0 {
		return fmt.Errorf("unknown hash algorithm %.100q", algorithm)
	}
	o.Method, o.Algorithm = method, name
	switch {
	case o.Hash == "impure" && o.Path == "":
		o.Kind, o.Hash = Impure, ""
	case o.Hash == "" && o.Path == "":
		o.Kind = Floating
	case o.Hash == "" || o.Path == "":
		return errors.New("it has one of path and hash, want both or neither")
	default:
		o.Kind = Fixed
		if b, err := hex.DecodeString(o.Hash); err != nil || len(b) != nixstore.HashSize(name) || strings.ToLower(o.Hash) != o.Hash {
			return fmt.Errorf("%.200q is not a valid %s in hexadecimal digits", o.Hash, name)
		}
	}
	return nil
}

func (p *parser) input() Input {
	p.word("(")
	input := Input{Path: p.storePath()}
	p.word(",")
	inOrder(p, "output", func() string {
		name := p.text()
		input.Outputs = append(input.Outputs, name)
		return name
	})
	p.word(")")
	return input
}

func (p *parser) variable() Variable {
	p.word("(")
	v := Variable{Name: p.text()}
	p.word(",")
	v.Value = p.text()
	p.word(")")
	return v
}

func (p *parser) storePath() string {
	path := p.text()
	if p.err == nil {
		p.checkPath(path)
	}
	return path
}

func (p *parser) checkPath(path string) {
	if _, err := nixstore.ParsePath(p.storeDir, path); err != nil {
		p.fail("%w", err)
	}
}

// inOrder reads a list whose items have names in order.
func inOrder(p *parser, what string, item func() string) {
	last, first := "", true
	p.list(func() {
		name := item()
		if p.err == nil && !first && name <= last {
			p.fail("%s %.300q after %.300q: they are not in order", what, name, last)
		}
		last, first = name, false
	})
}

// list reads a list of items.
func (p *parser) list(item func()) {
	p.word("[")
	if p.next("]") {
		return
	}
	for p.err == nil {
		item()
		if p.next("]") {
			return
		}
		p.word(",")
	}
}

// next consumes a word if it comes next.
func (p *parser) next(word string) bool {
	if p.err != nil || !bytes.HasPrefix(p.data[p.at:], []byte(word)) {
		return false
	}
	p.at += len(word)
	return true
}

// word consumes a word that has to come next.
func (p *parser) word(word string) {
	if p.next(word) || p.err != nil {
		return
	}
	rest := p.data[p.at:]
	if bytes.HasPrefix([]byte(word), rest) {
		p.fail("it ends too early")
		return
	}
	p.fail("got %q, want %q", rest[:min(len(rest), 20)], word)
}

// text reads a quoted string.
func (p *parser) text() string {
	p.word(`"`)
	if p.err != nil {
		return ""
	}
	var out []byte
	for {
		rest := p.data[p.at:]
		i := bytes.IndexAny(rest, "\"\\\x00\n\r\t")
		if i < 0 {
			p.at = len(p.data)
			p.fail("it ends within a string")
			return ""
		}
		out = append(out, rest[:i]...)
		p.at += i
		switch rest[i] {
		case '"':
			p.at++
			return string(out)
		case '\\':
		default:
			p.fail("a string holds %q as it is", rest[i])
			return ""
		}
		c, ok := unescape(rest[i:])
		if !ok {
			p.fail("%q is not a valid escape", rest[i:min(len(rest), i+2)])
			return ""
		}
		out = append(out, c)
		p.at += 2
	}
}

// unescape returns the byte that an escape stands for.
func unescape(s []byte) (byte, bool) {
	if len(s) < 2 {
		return 0, false
	}
	switch s[1] {
	case '"', '\\':
		return s[1], true
	case 'n':
		return '\n', true
	case 'r':
		return '\r', true
	case 't':
		return '\t', true
	}
	return 0, false
}
