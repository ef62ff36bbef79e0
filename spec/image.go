package spec

import (
	"path"
	"slices"
	"strings"

	"github.com/varve-image/varve/image/ordjson"
)

// image decodes the whole spec.
func (d *decoder) image(v value) {
	s := d.spec
	treeMTime, layering := false, false
	known := fields{
		"args":                 func(value) {}, // see readArgs
		"name":                 func(v value) { s.Name = d.imageName(v) },
		"tag":                  func(v value) { s.Tag = d.tag(v) },
		"tags":                 func(v value) { s.Tags = d.tags(v) },
		"fromImage":            func(v value) { s.FromImage = d.reference(v) },
		"fromImageName":        func(v value) { s.FromImageName, _ = d.filled(v, "a name") },
		"fromImageTag":         func(v value) { s.FromImageTag = d.tag(v) },
		"inherit":              func(v value) { s.Inherit = Inherit(d.oneOf(v, Choices("inherit")...)) },
		"contents":             func(v value) { s.Contents = d.contents(v) },
		"copyToRoot":           func(v value) { s.CopyToRoot = d.copies(v) },
		"keepContentsDirlinks": func(v value) { s.KeepContentsDirlinks = d.bool(v) },
		"closure":              func(v value) { s.Closure = d.path(v) },
		"storeDir":             func(v value) { s.StoreDir = d.storeDir(v) },
		"includeStorePaths":    func(v value) { s.IncludeStorePaths = d.bool(v) },
		"includeNixDB":         func(v value) { s.IncludeNixDB = d.bool(v) },
		"maxLayers":            func(v value) { s.MaxLayers = d.maxLayers(v) },
		"layering":             func(v value) { layering, s.Layering = true, Layering(d.oneOf(v, Choices("layering")...)) },
		"previous":             func(v value) { s.Previous = d.previous(v) },
		"layerFormat":          func(v value) { s.LayerFormat = d.layerFormat(v) },
		"closureRoots":         func(v value) { s.ClosureRoots = ClosureRoots(d.oneOf(v, Choices("closureRoots")...)) },
		"layeringPipeline":     func(v value) { s.LayeringPipeline = d.pipeline(v) },
		"layers":               func(v value) { s.Layers = d.groups(v) },
		"presets":              func(v value) { s.Presets = d.presets(v) },
		"perms":                func(v value) { s.Perms = d.perms(v) },
		"conflicts":            func(v value) { s.Conflicts = d.conflicts(v) },
		"config":               func(v value) { s.Config = d.config(v) },
		"architecture":         func(v value) { s.Architecture = d.architecture(v) },
		"variant":              func(v value) { s.Variant, _ = d.filled(v, "a variant such as v7") },
		"os":                   func(v value) { s.OS = d.os(v) },
		"created":              func(v value) { s.Created = d.created(v) },
		"mtime":                func(v value) { s.MTime = d.mtime(v) },
		"treeMtime":            func(v value) { treeMTime, s.TreeMTime = true, d.mtime(v) },
		"uid":                  func(v value) { s.UID = d.id(v) },
		"gid":                  func(v value) { s.GID = d.id(v) },
		"uname":                func(v value) { s.Uname, _ = d.line(v) },
		"gname":                func(v value) { s.Gname, _ = d.line(v) },
		"compressor":           func(v value) { s.Compressor = d.compressor(v) },
		"extraCommands":        func(v value) { s.ExtraCommands = d.script(v) },
		"fakeRootCommands":     func(v value) { s.FakeRootCommands = d.script(v) },
		"enableFakechroot":     func(v value) { s.EnableFakechroot = d.bool(v) },
		"runAsRoot":            func(v value) { s.RunAsRoot = d.script(v) },
		"shell":                func(v value) { s.Shell = d.shell(v) },
		"path":                 func(v value) { s.Path = d.searchPath(v) },
		"isolation":            func(v value) { s.Isolation = Isolation(d.oneOf(v, Choices("isolation")...)) },
		"network":              func(v value) { s.Network = Network(d.oneOf(v, Choices("network")...)) },
		"diskSize":             func(v value) { s.DiskSize = d.mebibytes(v) },
		"buildVMMemorySize":    func(v value) { s.BuildVMMemorySize = d.mebibytes(v) },
		"annotations":          func(v value) { s.Annotations = d.pairs(v, false) },
		"labels":               func(v value) { s.Labels = d.pairs(v, true) },
	}
	d.object(v, "an object", d.layerFiles(known, &s.LayerFiles))
	d.defaults(layering, treeMTime)
	d.required(v, "name", `the image's name, such as "hello"`)
	d.together(v)
	d.mergeLabels(v)
}

// defaults sets fields that are not given, where others decide.
func (d *decoder) defaults(layering, treeMTime bool) {
	s := d.spec
	if !layering && s.LayerFormat == 1 {
		s.Layering = Popularity
	}
	if !treeMTime {
		s.TreeMTime = s.MTime
	}
}

// together checks fields that depend on each other.
func (d *decoder) together(v value) {
	s := d.spec
	if i := slices.Index(s.Tags, s.Tag); i >= 0 && s.Tag != "" {
		d.failAt(v, "tags", "%s is the tag already: leave it out", quote(s.Tag))
	}
	if (s.FromImageName == "") != (s.FromImageTag == "") {
		d.fail(v, "fromImageName and fromImageTag go together: give both or neither")
	}
	if s.LayeringPipeline != nil && s.Layering == Single {
		d.fail(v, "layeringPipeline divides the store paths into layers, and layering: single makes one of everything: remove one of the two")
	}
	switch {
	case s.Previous == "":
	case s.LayeringPipeline != nil:
		d.failAt(v, "previous", "layeringPipeline divides the store paths by itself, and looks at no plan: remove one of the two")
	case s.Layering != Stable && slices.Contains(Choices("layering"), string(s.Layering)):
		d.failAt(v, "previous", "it is the plan of layering: stable, and layering is %s: write layering: stable, or remove previous", s.Layering)
	}
}

// failAt reports an error at the member name of v, where it has one.
func (d *decoder) failAt(v value, name, format string, args ...any) {
	at := v.node
	if i := v.index(name); i >= 0 {
		at = v.members[i].value
	}
	d.add(at, joinField(v.field, name), format, args...)
}

// pathTransports are the transports of image references that name a path.
func pathTransports() []string { return []string{"docker-archive", "oci", "oci-archive", "dir"} }

// otherTransports are the transports of image references that name something else.
func otherTransports() []string {
	return []string{"docker", "docker-daemon", "containerd", "containers-storage"}
}

// reference returns an image reference, whose path is absolute if it has one.
// Without a transport it is a path; - is standard input.
func (d *decoder) reference(v value) string {
	s, ok := d.filled(v, "an image reference or a path")
	if !ok {
		return ""
	}
	if s = d.expand(v, s); s == "-" {
		return s
	}
	transport, rest, found := strings.Cut(s, ":")
	switch {
	case isURL(s) && !slices.Contains(otherTransports(), transport):
		_, name, _ := strings.Cut(s, "://")
		d.fail(v, "%s is a URL: write %s for an image of a registry, and fetch an archive first", quote(s), quote("docker://"+name))
		return ""
	case found && slices.Contains(otherTransports(), transport):
		return s
	case found && slices.Contains(pathTransports(), transport):
		name, after, named := strings.Cut(rest, ":")
		if name == "" {
			d.fail(v, "%s names no path", quote(s))
			return ""
		}
		name = d.absolute(v, name)
		if named {
			name += ":" + after
		}
		return transport + ":" + name
	}
	return d.absolute(v, s)
}

// previous returns what holds the plan: an image reference or path, or auto.
func (d *decoder) previous(v value) string {
	switch {
	case v.kind == text && v.text == PreviousAuto:
		return PreviousAuto
	case v.kind == text && v.text == "-":
		d.fail(v, "a plan is not read from standard input: name a file or an image")
		return ""
	}
	return d.reference(v)
}

// pipeline returns the operations of a layeringPipeline as they are written, or
// the file that holds them.
func (d *decoder) pipeline(v value) *Pipeline {
	switch v.kind {
	case text:
		return &Pipeline{File: d.path(v)}
	case list:
		operations, _ := d.json(v).([]any)
		return &Pipeline{Operations: operations}
	}
	d.want(v, "a list of operations, or the path of a JSON file that holds one")
	return nil
}

func (d *decoder) conflicts(v value) Conflicts {
	return Conflicts(d.oneOf(v, Choices("conflicts")...))
}

// storeDir returns an absolute, clean path other than /.
func (d *decoder) storeDir(v value) string {
	s, ok := d.filled(v, "a path")
	if ok && (!path.IsAbs(s) || path.Clean(s) != s || s == "/") {
		d.fail(v, "got %s, want an absolute path without . .. or empty parts, such as /nix/store", quote(s))
	}
	return s
}

// pairs returns a map of strings. A number or a truth value stands for its
// text as written. Members that are null, where there may be any, are left out.
func (d *decoder) pairs(v value, nulls bool) []KeyValue {
	if v.kind != object {
		d.want(v, "an object with strings")
		return nil
	}
	m := make(map[string]string, len(v.members))
	for _, item := range v.members {
		field := value{item.value, joinField(v.field, item.key.text)}
		switch {
		case item.key.text == "":
			d.add(place(item), v.field, "a key is empty")
		case field.kind == number || field.kind == boolean:
			m[item.key.text] = field.text
		case field.kind == null && nulls:
		case field.kind == null:
			d.fail(field, `got null, want a string: write "" for an empty one`)
		default:
			m[item.key.text], _ = d.string(field)
		}
	}
	return sortedPairs(m)
}

// mergeLabels adds labels to config.Labels, after what is there. A null label removes the base
// image's.
func (d *decoder) mergeLabels(v value) {
	i := v.index("labels")
	if i < 0 || len(v.members[i].value.members) == 0 {
		return
	}
	given := v.members[i].value
	old, _ := d.spec.Config.Get("Labels")
	labels, ok := old.(*ordjson.Object)
	if !ok || labels == nil {
		labels = &ordjson.Object{}
	}
	merge := func(key string, label any) {
		if old, ok := labels.Get(key); ok && old != label {
			at := given.members[given.index(key)].value
			d.add(at, joinField("labels", key), "got %s, but config.Labels has %s: remove one", labelText(label), labelText(old))
			return
		}
		labels.Set(key, label)
	}
	for _, l := range d.spec.Labels {
		merge(l.Key, l.Value)
	}
	for _, m := range given.members {
		switch {
		case m.value.kind != null:
		case d.spec.FromImage == "":
			d.fail(value{m.value, joinField("labels", m.key.text)}, `got null, which takes a label of fromImage away, and there is no base: write "" for an empty one`)
		default:
			merge(m.key.text, nil)
		}
	}
	d.spec.Config.Set("Labels", labels)
}

// labelText returns a label's value for a message.
func labelText(v any) string {
	if v == nil {
		return "null"
	}
	s, _ := v.(string)
	return quote(s)
}

// shell returns the program that runs scripts.
func (d *decoder) shell(v value) string {
	s, ok := d.filled(v, "a program such as /bin/bash")
	if ok && !path.IsAbs(s) {
		d.fail(v, "got %s, want an absolute path such as /bin/bash", quote(s))
	}
	return s
}
