package image

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/distribution/reference"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/internal/ocijson"
)

// Rebase describes an image that was built on one base as if it were built on another: the
// layers that it adds go on the new base's, as they are. In its config, what it took from the
// old base unchanged is replaced by what the new base has, and what it set itself stays; Env is
// taken apart by variable, Labels, Volumes and ExposedPorts by key. History follows the layers.
// Annotations of its manifest are kept, except those about the base.
//
// It is an error if the image does not begin with the old base's layers, or if the bases are for
// different platforms.
func Rebase(img, oldBase, newBase *Stored) (*Stored, error) {
	if err := checkBases(img, oldBase, newBase); err != nil {
		return nil, err
	}
	below := len(oldBase.DiffIDs)
	config, err := rebasedConfig(img, oldBase, newBase)
	if err != nil {
		return nil, err
	}
	data, err := ordjson.Marshal(config)
	if err != nil {
		return nil, err
	}
	out, err := NewStored(data, slices.Concat(newBase.layers, img.layers[below:]))
	if err != nil {
		return nil, err
	}
	if out.Annotations, err = ocijson.Annotations(img.Manifest); err != nil {
		return nil, err
	}
	delete(out.Annotations, v1.AnnotationBaseImageName)
	delete(out.Annotations, v1.AnnotationBaseImageDigest)
	return out, nil
}

// BaseAnnotations returns annotations with the name and the digest of the image's base. The name
// is a registry image's, in full, with its digest only if it has no tag. Either may be empty.
// What annotations say already stays.
func BaseAnnotations(annotations map[string]string, name string, base *Stored) map[string]string {
	all := map[string]string{}
	if named, err := reference.ParseNormalizedNamed(name); err == nil {
		all[v1.AnnotationBaseImageName] = named.String()
		if tagged, ok := reference.TagNameOnly(named).(reference.Tagged); ok {
			all[v1.AnnotationBaseImageName] = named.Name() + ":" + tagged.Tag()
		}
	}
	if d := base.ManifestDescriptor.Digest; d != "" {
		all[v1.AnnotationBaseImageDigest] = d.String()
	}
	maps.Copy(all, annotations)
	return all
}

func checkBases(img, oldBase, newBase *Stored) error {
	if n, below := len(img.DiffIDs), len(oldBase.DiffIDs); n < below {
		return fmt.Errorf("the image has %d layers and the old base %d: it is not built on it", n, below)
	}
	for i, id := range oldBase.DiffIDs {
		if img.DiffIDs[i] != id {
			return fmt.Errorf("the image is not built on the old base: its layer %d is %s, the base's %s", i+1, img.DiffIDs[i], id)
		}
	}
	own, other := img.ConfigPlatform(), newBase.ConfigPlatform()
	if !ocijson.Matches(other, &own) && !ocijson.Matches(own, &other) {
		return fmt.Errorf("the image is for %s and the new base for %s", ocijson.PlatformText(&own), ocijson.PlatformText(&other))
	}
	return nil
}

// rebasedConfig returns the whole config.
func rebasedConfig(img, oldBase, newBase *Stored) (*ordjson.Object, error) {
	var run [3]*ordjson.Object
	for i, e := range []*Stored{oldBase, img, newBase} {
		var err error
		if run[i], err = e.Run(); err != nil {
			return nil, fmt.Errorf("config: %w", err)
		}
	}
	merged, err := rebaseRun(run[0], run[1], run[2])
	if err != nil {
		return nil, err
	}
	ids := []any{}
	for _, id := range slices.Concat(newBase.DiffIDs, img.DiffIDs[len(oldBase.DiffIDs):]) {
		ids = append(ids, id.String())
	}
	config := &ordjson.Object{Members: slices.Clone(img.Config.Members)}
	for _, key := range []string{"architecture", "os", "os.version", "os.features", "variant"} {
		if v, ok := newBase.Config.Get(key); ok {
			config.Set(key, v)
		} else {
			config.Delete(key)
		}
	}
	config.Set("config", merged)
	config.Set("rootfs", &ordjson.Object{Members: []ordjson.Member{{Key: "type", Value: "layers"}, {Key: "diff_ids", Value: ids}}})
	config.Set("history", slices.Concat(newBase.history(), ownHistory(img, oldBase)))
	return config, nil
}

// ownHistory returns the history entries that the image adds to its base's.
func ownHistory(img, oldBase *Stored) []any {
	all, below := img.history(), oldBase.history()
	if len(all) >= len(below) && reflect.DeepEqual(all[:len(below)], below) {
		return all[len(below):]
	}
	layers := 0
	for i, item := range all {
		if layers == len(oldBase.DiffIDs) {
			return all[i:]
		}
		if o, _ := item.(*ordjson.Object); !emptyLayer(o) {
			layers++
		}
	}
	return nil
}

// rebaseRun returns the config for running a container.
func rebaseRun(below, own, above *ordjson.Object) (*ordjson.Object, error) {
	merged := threeWay(below, own, above)
	for _, key := range []string{"Labels", "Volumes", "ExposedPorts"} {
		var parts [3]*ordjson.Object
		for i, o := range []*ordjson.Object{below, own, above} {
			var err error
			if parts[i], err = o.Object(key); err != nil {
				return nil, fmt.Errorf("config: %w", err)
			}
		}
		setOrDelete(merged, key, threeWay(parts[0], parts[1], parts[2]))
	}
	var env [3]*ordjson.Object
	for i, o := range []*ordjson.Object{below, own, above} {
		list, err := o.Strings("Env")
		if err != nil {
			return nil, fmt.Errorf("config: %w", err)
		}
		env[i] = &ordjson.Object{}
		for _, entry := range list {
			name, _, _ := strings.Cut(entry, "=")
			env[i].Set(name, entry)
		}
	}
	var list []any
	for _, m := range threeWay(env[0], env[1], env[2]).Members {
		list = append(list, m.Value)
	}
	if list == nil {
		merged.Delete("Env")
	} else {
		merged.Set("Env", list)
	}
	return merged, nil
}

func setOrDelete(o *ordjson.Object, key string, value *ordjson.Object) {
	if len(value.Members) == 0 {
		o.Delete(key)
		return
	}
	o.Set(key, value)
}

// threeWay merges by key: a value that own and below have in common becomes above's, and any
// other stays as own has it.
func threeWay(below, own, above *ordjson.Object) *ordjson.Object {
	out := &ordjson.Object{}
	add := func(key string) {
		was, had := below.Get(key)
		is, has := own.Get(key)
		if had == has && reflect.DeepEqual(was, is) {
			is, has = above.Get(key)
		}
		if has {
			out.Set(key, is)
		}
	}
	for _, o := range []*ordjson.Object{above, own} {
		if o == nil {
			continue
		}
		for _, m := range o.Members {
			add(m.Key)
		}
	}
	return out
}
