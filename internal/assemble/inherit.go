package assemble

import (
	"slices"
	"strings"

	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/spec"
)

// InheritConfig returns the config of an image on a base. With InheritEnv only the
// base's environment is kept, as dockerTools does. With InheritAll everything in
// the base's config is kept that own does not set: Env is merged by variable;
// Labels, Volumes and ExposedPorts by key; a null in own removes a field, or a key
// of these; and an Entrypoint in own removes the base's Cmd.
func InheritConfig(base, own *ordjson.Object, mode spec.Inherit) (*ordjson.Object, error) {
	out := &ordjson.Object{}
	if mode == spec.InheritAll {
		out.Members = slices.Clone(members(base))
		if v, ok := own.Get("Entrypoint"); ok && v != nil {
			out.Delete("Cmd")
		}
	}
	for _, m := range own.Members {
		switch {
		case m.Value == nil && mode == spec.InheritAll:
			out.Delete(m.Key)
		case isKeyed(m.Key) && mode == spec.InheritAll:
			if merged := mergeKeys(out, m); merged != nil {
				out.Set(m.Key, merged)
			} else {
				out.Delete(m.Key)
			}
		default:
			out.Set(m.Key, m.Value)
		}
	}
	if v, ok := own.Get("Env"); ok && v == nil && mode == spec.InheritAll {
		return out, nil
	}
	env, err := mergeEnv(base, own)
	if err != nil {
		return nil, err
	}
	if len(env) > 0 {
		out.Set("Env", env)
	}
	return out, nil
}

func members(o *ordjson.Object) []ordjson.Member {
	if o == nil {
		return nil
	}
	return o.Members
}

// mergeKeys merges an object of the image's into the inherited one of the same key.
// A null removes a key; a nil result is an object with nothing left.
func mergeKeys(inherited *ordjson.Object, own ordjson.Member) any {
	object, ok := own.Value.(*ordjson.Object)
	if !ok {
		return own.Value
	}
	merged := &ordjson.Object{}
	v, _ := inherited.Get(own.Key)
	if below, _ := v.(*ordjson.Object); below != nil {
		merged.Members = slices.Clone(below.Members)
	}
	for _, m := range object.Members {
		if m.Value == nil {
			merged.Delete(m.Key)
		} else {
			merged.Set(m.Key, m.Value)
		}
	}
	if len(merged.Members) == 0 && len(object.Members) > 0 {
		return nil
	}
	return merged
}

// isKeyed reports whether a field is merged by key.
func isKeyed(field string) bool {
	return field == "Labels" || field == "Volumes" || field == "ExposedPorts"
}

// mergeEnv puts the base's environment before the image's own. A variable that
// occurs twice keeps its first place and has its last value.
func mergeEnv(base, own *ordjson.Object) ([]any, error) {
	var merged []any
	place := map[string]int{}
	for _, o := range []*ordjson.Object{base, own} {
		env, err := o.Strings("Env")
		if err != nil {
			return nil, err
		}
		for _, entry := range env {
			name, _, _ := strings.Cut(entry, "=")
			if i, ok := place[name]; ok {
				merged[i] = entry
				continue
			}
			place[name] = len(merged)
			merged = append(merged, entry)
		}
	}
	return merged, nil
}
