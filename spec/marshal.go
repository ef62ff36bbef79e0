package spec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/varve-image/varve/image/ordjson"
)

// New returns the spec of an image with a name, and the defaults of a spec file that says
// nothing more.
func New(name string) *Spec {
	s := withDefaults()
	s.Name, s.TreeMTime = name, -1
	return s
}

// Check returns a copy of a spec that was made or changed by a program, checked and completed as
// Parse does for a spec that it reads. What is wrong is returned as Errors. Options.Settings
// override fields, as in Parse.
func (s *Spec) Check(o Options) (*Spec, error) {
	data, err := s.MarshalJSON()
	if err != nil {
		return nil, err
	}
	checked, err := Parse(bytes.NewReader(data), o)
	if err != nil {
		return nil, withoutPlaces(err)
	}
	for path, written := range s.local { // it was resolved when the spec was read
		if _, ok := checked.local[path]; !ok {
			checked.local[path] = written
		}
	}
	return checked, nil
}

// withoutPlaces removes lines and columns from errors: they belong to a file that does not
// exist.
func withoutPlaces(err error) error {
	var all Errors
	if !errors.As(err, &all) {
		return err
	}
	for _, e := range all {
		e.File, e.Line, e.Column = "", 0, 0
	}
	return all
}

// MarshalJSON writes the spec as it is read, with all of its defaults.
func (s *Spec) MarshalJSON() ([]byte, error) {
	o := &ordjson.Object{}
	set := setter(o)
	set("name", s.Name)
	set("tag", s.Tag)
	set("tags", jsonTexts(s.Tags))
	set("fromImage", s.FromImage)
	set("fromImageName", s.FromImageName)
	set("fromImageTag", s.FromImageTag)
	set("inherit", string(s.Inherit))
	set("contents", jsonTexts(s.Contents))
	set("copyToRoot", jsonList(s.CopyToRoot, Copy.object))
	set("keepContentsDirlinks", s.KeepContentsDirlinks)
	set("closure", s.Closure)
	set("storeDir", s.StoreDir)
	o.Set("includeStorePaths", s.IncludeStorePaths)
	set("includeNixDB", s.IncludeNixDB)
	if s.LayeringPipeline == nil { // which takes its place
		set("maxLayers", jsonInt(s.MaxLayers))
	}
	set("layering", string(s.Layering))
	set("previous", s.Previous)
	set("layerFormat", jsonInt(s.LayerFormat))
	set("closureRoots", string(s.ClosureRoots))
	set("layeringPipeline", s.LayeringPipeline.value())
	set("layers", jsonList(s.Layers, Group.object))
	set("presets", jsonList(s.Presets, Preset.value))
	set("perms", jsonList(s.Perms, PermRule.object))
	s.LayerFiles.marshal(set)
	set("conflicts", string(s.Conflicts))
	if s.Config != nil {
		o.Set("config", s.ownConfig())
	}
	set("architecture", s.Architecture)
	set("variant", s.Variant)
	set("os", s.OS)
	set("created", s.Created.text())
	set("mtime", at(s.MTime))
	if s.TreeMTime >= 0 {
		set("treeMtime", at(s.TreeMTime))
	}
	s.setOwners(set)
	set("compressor", s.Compressor)
	s.setScripts(set)
	set("annotations", pairs(s.Annotations))
	set("labels", pairs(s.Labels))
	if s.Args != nil {
		o = escaped(o, "").(*ordjson.Object)
		args := &ordjson.Object{}
		for _, a := range s.Args {
			args.Set(a.Key, a.Value)
		}
		o.Set("args", args)
	}
	return ordjson.Marshal(o)
}

func (s *Spec) setOwners(set func(string, any)) {
	set("uid", jsonInt(int(s.UID)))
	set("gid", jsonInt(int(s.GID)))
	set("uname", s.Uname)
	set("gname", s.Gname)
}

func (s *Spec) setScripts(set func(string, any)) {
	set("extraCommands", s.ExtraCommands)
	set("fakeRootCommands", s.FakeRootCommands)
	set("enableFakechroot", s.EnableFakechroot)
	set("runAsRoot", s.RunAsRoot)
	set("shell", s.Shell)
	set("path", jsonTexts(s.Path))
	set("isolation", string(s.Isolation))
	set("network", string(s.Network))
	set("diskSize", jsonInt(s.DiskSize))
	set("buildVMMemorySize", jsonInt(s.BuildVMMemorySize))
}

// ownConfig returns the config without Labels, which are in it as well.
func (s *Spec) ownConfig() *ordjson.Object {
	v, _ := s.Config.Get("Labels")
	had, _ := v.(*ordjson.Object)
	if had == nil || len(s.Labels) == 0 {
		return s.Config
	}
	left := &ordjson.Object{Members: slices.Clone(had.Members)}
	for _, l := range s.Labels {
		left.Delete(l.Key)
	}
	config := &ordjson.Object{Members: slices.Clone(s.Config.Members)}
	if config.Set("Labels", left); len(left.Members) == 0 {
		config.Delete("Labels")
	}
	return config
}

// setter returns a function that gives an object a value, unless there is none.
func setter(o *ordjson.Object) func(key string, value any) {
	return func(key string, value any) {
		switch v := value.(type) {
		case nil:
			return
		case string:
			if v == "" {
				return
			}
		case bool:
			if !v {
				return
			}
		case json.Number:
			if v == "0" {
				return
			}
		}
		o.Set(key, value)
	}
}

func jsonInt(n int) json.Number { return json.Number(strconv.Itoa(n)) }

func number32(n *uint32) any {
	if n == nil {
		return nil
	}
	return json.Number(strconv.FormatUint(uint64(*n), 10))
}

func octal(mode *uint32) any {
	if mode == nil {
		return nil
	}
	return fmt.Sprintf("%#o", *mode)
}

// at returns a time in seconds since 1970, as specs write it.
func at(seconds int64) string { return "@" + strconv.FormatInt(seconds, 10) }

func (t *Time) text() string {
	switch {
	case t == nil:
		return ""
	case t.Now:
		return "now"
	}
	return at(t.Seconds)
}

// jsonList returns a list of what item makes of each; nil for none.
func jsonList[T any](items []T, item func(T) any) any {
	if len(items) == 0 {
		return nil
	}
	values := make([]any, len(items))
	for i, v := range items {
		values[i] = item(v)
	}
	return values
}

func jsonTexts(all []string) any { return jsonList(all, func(s string) any { return s }) }

// escaped returns a value, at a path of fields, as it is written in a spec that has args, without
// variables. Env has them still.
func escaped(v any, field string) any {
	switch v := v.(type) {
	case string:
		return strings.ReplaceAll(v, "${", "$${")
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = escaped(item, field+"["+itoa(i)+"]")
		}
		return out
	case *ordjson.Object:
		out := &ordjson.Object{}
		for _, m := range v.Members {
			at := joinField(field, m.Key)
			if value := m.Value; !isScript(at, m.Key) && at != "config.Env" {
				m.Value = escaped(value, at)
			}
			out.Members = append(out.Members, m)
		}
		return out
	}
	return v
}

func pairs(all []KeyValue) any {
	if len(all) == 0 {
		return nil
	}
	o := &ordjson.Object{}
	for _, p := range all {
		o.Set(p.Key, p.Value)
	}
	return o
}

func (c Copy) object() any {
	o := &ordjson.Object{}
	set := setter(o)
	set("source", c.Source)
	set("image", c.Image)
	if c.Content != nil {
		o.Set("content", *c.Content)
	}
	set("target", c.Target)
	set("mode", octal(c.Mode))
	set("owner", c.Owner.value())
	set("exclude", jsonTexts(c.Exclude))
	set("ignoreFile", c.IgnoreFile)
	set("hardLinks", c.HardLinks)
	return o
}

func (g Group) object() any {
	o := &ordjson.Object{}
	set := setter(o)
	set("contents", jsonTexts(g.Contents))
	set("copyToRoot", jsonList(g.CopyToRoot, Copy.object))
	set("keepContentsDirlinks", g.KeepContentsDirlinks)
	set("perms", jsonList(g.Perms, PermRule.object))
	g.LayerFiles.marshal(set)
	set("built", g.Built)
	return o
}

func (r PermRule) object() any {
	o := &ordjson.Object{}
	set := setter(o)
	set("path", r.Path)
	set("mode", octal(r.Mode))
	setID(o, "uid", r.UID)
	setID(o, "gid", r.GID)
	set("owner", r.Owner.value())
	set("capabilities", r.Capabilities)
	return o
}

// value returns the pipeline's file, or its operations.
func (p *Pipeline) value() any {
	switch {
	case p == nil:
		return nil
	case p.File != "":
		return p.File
	}
	return append([]any{}, p.Operations...)
}
