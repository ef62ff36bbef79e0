package spec

import (
	"slices"
	"strings"

	"github.com/varve-image/varve/image/ordjson"
)

// Preset is a set of files that varve knows how to make.
type Preset struct {
	// Name is one of PresetNames.
	Name string
	// Path is caCertificates' bundle, as an absolute path; or the text of the
	// symlink that binSh or usrBinEnv makes. Empty: the preset's default.
	Path string
	// ExtraPasswdLines and ExtraGroupLines are nss's, without line ends.
	ExtraPasswdLines, ExtraGroupLines []string
}

// presetArgument is what a preset takes as its argument.
type presetArgument int

const (
	noArgument presetArgument = iota
	linkArgument
	fileArgument
	linesArgument
)

// presetTable is the table of presets and their arguments, in the order in which
// messages list them. The schema is made of it. Package rootfs has the files.
var presetTable = []struct {
	name     string
	argument presetArgument
}{
	{"nss", linesArgument},
	{"shadow", noArgument},
	{"binSh", linkArgument},
	{"usrBinEnv", linkArgument},
	{"caCertificates", fileArgument},
	{"tmp", noArgument},
}

// PresetNames returns the names that Preset.Name can have.
func PresetNames() []string {
	names := make([]string, len(presetTable))
	for i, p := range presetTable {
		names[i] = p.name
	}
	return names
}

func (d *decoder) presets(v value) []Preset {
	var presets []Preset
	d.oneOrMore(v, "a list of presets", func(v value) {
		p := d.preset(v)
		if p.Name == "" {
			return
		}
		if slices.ContainsFunc(presets, func(q Preset) bool { return q.Name == p.Name }) {
			d.fail(v, "preset %q given twice", p.Name)
		}
		presets = append(presets, p)
	})
	return presets
}

// preset returns a preset: its name, or an object of its name and argument.
func (d *decoder) preset(v value) Preset {
	if v.kind == text {
		return Preset{Name: d.oneOf(v, PresetNames()...)}
	}
	if v.kind != object || len(v.members) != 1 {
		d.want(v, "a preset's name or an object with one name and its argument")
		return Preset{}
	}
	p := Preset{Name: d.oneOf(value{v.members[0].key, v.field}, PresetNames()...)}
	if !slices.Contains(PresetNames(), p.Name) {
		return Preset{}
	}
	forms := fields{}
	for _, row := range presetTable {
		forms[row.name] = func(v value) { d.presetArgument(v, row.argument, &p) }
	}
	d.object(v, "", forms)
	return p
}

// presetArgument decodes the argument of a preset.
func (d *decoder) presetArgument(v value, argument presetArgument, p *Preset) {
	switch argument {
	case linkArgument:
		p.Path, _ = d.filled(v, "the path that the symlink leads to")
	case fileArgument:
		p.Path = d.path(v)
	case linesArgument:
		d.nss(v, p)
	default:
		d.fail(v, "preset %s takes no argument", p.Name)
	}
}

// nss decodes nss's argument.
func (d *decoder) nss(v value, p *Preset) {
	d.object(v, "an object with extraPasswdLines or extraGroupLines", fields{
		"extraPasswdLines": func(v value) { p.ExtraPasswdLines = d.lines(v, 7, "name:x:uid:gid:comment:home:shell") },
		"extraGroupLines":  func(v value) { p.ExtraGroupLines = d.lines(v, 4, "name:x:gid:members") },
	})
}

// lines returns a list of lines, each with as many fields between colons as
// parts says.
func (d *decoder) lines(v value, parts int, form string) []string {
	var list []string
	d.items(v, "a list of lines such as "+form, func(v value) {
		s, ok := d.filled(v, form)
		if ok && strings.Count(s, ":") != parts-1 {
			d.fail(v, "got %s, want %d parts: %s", quote(s), parts, form)
		}
		list = append(list, s)
	})
	return list
}

// value returns the preset's name, or an object of its name and argument.
func (p Preset) value() any {
	argument := &ordjson.Object{}
	set := setter(argument)
	set("extraPasswdLines", jsonTexts(p.ExtraPasswdLines))
	set("extraGroupLines", jsonTexts(p.ExtraGroupLines))
	o := &ordjson.Object{}
	switch {
	case p.Path != "":
		o.Set(p.Name, p.Path)
	case len(argument.Members) > 0:
		o.Set(p.Name, argument)
	default:
		return p.Name
	}
	return o
}
