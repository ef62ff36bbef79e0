// Package drv reads derivations: the .drv files of a Nix store, which say how
// store paths are built.
//
// Guarantees:
//
//   - Read takes only what Nix itself writes: fields in their order, lists
//     sorted and without repetition, no white space, no escapes but the known
//     ones, nothing after the end. Everything else is refused, with the byte
//     position.
//   - Every store path in it lies in the store directory and has a legal name.
//   - Read takes memory in proportion to the text.
//
// Non-goals: writing and building derivations, and derivations whose inputs are
// only known once others are built ("dynamic derivations"), which are refused
// with an error that says so.
//
// Source: "Derivation" and "ATerm format" in the Nix manual.
package drv

import (
	"fmt"

	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/internal/regfile"
)

// MaxSize is the maximum size of a derivation in bytes.
const MaxSize = 64 << 20

// Derivation says how outputs are built. Lists are sorted by name or path.
type Derivation struct {
	Outputs []Output
	// Inputs are the derivations whose outputs are needed.
	Inputs []Input
	// Sources are the other store paths that are needed.
	Sources []string
	// System is the kind of machine that it is built on, such as "x86_64-linux".
	System string
	// Builder is the program, a path or "builtin:NAME", and Args its arguments
	// after the first.
	Builder string
	Args    []string
	// Env holds the variables of its environment.
	Env []Variable
}

// Output is a store path that is built.
type Output struct {
	Name string
	Kind Kind
	// Path is the store path; empty if it is only known once it is built.
	Path string
	// Method is how content is hashed, for the kinds that hash it: "flat", "nar",
	// "text" or "git". Algorithm is the hash's, such as "sha256".
	Method, Algorithm string
	// Hash is the hash of a Fixed output, in hexadecimal digits.
	Hash string
}

// Kind says what an output's path depends on.
type Kind int

// The kinds of outputs.
const (
	// InputAddressed outputs have a path that is computed from the derivation.
	InputAddressed Kind = iota + 1
	// Fixed outputs have a hash that is known beforehand.
	Fixed
	// Floating outputs have a path that is computed from their content.
	Floating
	// Deferred outputs are input-addressed, but an input's path is not known.
	Deferred
	// Impure outputs may be another path each time.
	Impure
)

// Input is a derivation some of whose outputs are needed.
type Input struct {
	Path    string
	Outputs []string
}

// Variable is a variable of the environment. Value may hold any byte but NUL.
type Variable struct {
	Name, Value string
}

// Get returns the value of a variable.
func (d *Derivation) Get(name string) (string, bool) {
	for _, v := range d.Env {
		if v.Name == name {
			return v.Value, true
		}
	}
	return "", false
}

// structuredName is the variable that holds structured attributes.
const structuredName = "__json"

// Structured returns the attributes of a derivation with __structuredAttrs, nil for
// one without.
func (d *Derivation) Structured() (*ordjson.Object, error) {
	text, ok := d.Get(structuredName)
	if !ok {
		return nil, nil
	}
	o, err := ordjson.ParseObject([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("read structured attributes: %w", err)
	}
	return o, nil
}

// Read reads the derivation in a file. Its store paths have to lie in storeDir;
// empty means nixstore.DefaultStoreDir. The file is looked up in root, which no
// symlink below it may lead out of; empty means the machine's own root.
func Read(storeDir, root, name string) (*Derivation, error) {
	data, err := regfile.ReadIn(root, name, MaxSize)
	name = root + name
	if err = regfile.Cause(err); regfile.IsTooLarge(err) {
		err = fmt.Errorf("it is longer than %d MiB", MaxSize>>20)
	}
	var d *Derivation
	if err == nil {
		d, err = parse(storeDir, data)
	}
	if err != nil {
		return nil, fmt.Errorf("read derivation %q: %w", name, err)
	}
	return d, nil
}
