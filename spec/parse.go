package spec

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Options says how to read an input. The zero value is useful.
type Options struct {
	// File is the input's name in messages; it defaults to "spec".
	File string
	// Dir is the folder that relative paths of the input start at; it defaults to the working
	// directory.
	Dir string
	// Settings override what the input says, or stand alone.
	Settings []Setting
	// Arguments give the input's args values.
	Arguments []Argument
	// Platform, where it is set, is used instead of the input's os, architecture and variant.
	// Messages call it PlatformFlag, such as "--platform", or platform if that is empty.
	Platform     Platform
	PlatformFlag string
	// Architecture replaces ${arch} where neither Platform nor the input names an architecture.
	Architecture string
	// LayerFormat is the version of layers if the input names none; 0 stands for the newest.
	LayerFormat int
	// SettingsDir is the folder that relative paths of Settings start at; it defaults to the
	// working directory.
	SettingsDir string
}

// ParseFile reads the spec in the named file. Where File and Dir of o are empty, they are taken
// from name.
func ParseFile(name string, o Options) (*Spec, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read spec: %w", err)
	}
	defer f.Close()
	if o.File == "" {
		o.File = name
	}
	if o.Dir == "" {
		o.Dir = filepath.Dir(name)
	}
	return Parse(f, o)
}

// Parse reads a spec, YAML or JSON, from r; a nil r stands for an empty one, so that settings
// alone can make a spec. What is wrong with the spec is returned as Errors; any other error
// comes from reading. Parse reads at most MaxSize+1 bytes.
//
// In the result, Config is never nil and holds Labels too.
func Parse(r io.Reader, o Options) (*Spec, error) {
	if o.File == "" {
		o.File = "spec"
	}
	d := &decoder{problems: problems{file: o.File}, spec: withDefaults()}
	var err error
	if d.dir, err = filepath.Abs(o.Dir); err != nil {
		return nil, fmt.Errorf("find the spec's folder: %w", err)
	}
	if d.settingsDir, err = filepath.Abs(o.SettingsDir); err != nil {
		return nil, fmt.Errorf("find the working directory: %w", err)
	}
	root := &node{kind: object}
	if r == nil {
		d.file = ""
	} else {
		data, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
		if err != nil {
			return nil, fmt.Errorf("read spec %s: %w", o.File, err)
		}
		if len(data) > MaxSize {
			d.add(&node{}, "", "larger than %d MiB: that is not a spec", MaxSize>>20)
			return nil, d.err()
		}
		if root = readTree(data, &d.problems); root == nil || root.kind == invalid {
			return nil, d.err()
		}
	}
	d.variables = d.readArgs(root, o.Arguments)
	for _, s := range o.Settings {
		s.apply(root, &d.problems)
	}
	if o.Platform != (Platform{}) {
		setPlatform(root, o.Platform, cmp.Or(o.PlatformFlag, "platform"))
	}
	d.spec.LayerFormat = cmp.Or(o.LayerFormat, LayerFormat)
	d.readPlatform(root, o.Architecture)
	d.image(value{root, ""})
	if d.variables != nil {
		d.spec.Args = d.variables.forScripts(d.spec)
	}
	if err := d.err(); err != nil {
		return nil, err
	}
	return d.spec, nil
}
