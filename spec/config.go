package spec

import (
	"encoding/json"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/varve-image/varve/image/ordjson"
)

// configKind is the kind of value that a config key must have.
type configKind int

const (
	configString configKind = iota
	configBool
	configInteger
	configStrings
	configEnv
	configSet
	configPorts
	configLabels
	configHealth
)

// configKeys returns the keys of an image's config that the OCI image
// specification names (config.md, "config") and those that Docker adds
// (moby's container.Config).
func configKeys() map[string]configKind {
	return map[string]configKind{
		"User": configString, "WorkingDir": configString, "StopSignal": configString,
		"Hostname": configString, "Domainname": configString, "Image": configString, "MacAddress": configString,
		"Entrypoint": configStrings, "Cmd": configStrings, "OnBuild": configStrings, "Shell": configStrings,
		"Env":          configEnv,
		"ExposedPorts": configPorts, "Volumes": configSet,
		"Labels":      configLabels,
		"ArgsEscaped": configBool, "AttachStdin": configBool, "AttachStdout": configBool, "AttachStderr": configBool,
		"Tty": configBool, "OpenStdin": configBool, "StdinOnce": configBool, "NetworkDisabled": configBool,
		"StopTimeout": configInteger, "Memory": configInteger, "MemorySwap": configInteger, "CpuShares": configInteger,
		"Healthcheck": configHealth,
	}
}

// canonicalKey returns a config key as OCI spells it: a known name that begins
// in lower case gets its capital.
func canonicalKey(key string) string {
	if key == "" {
		return key
	}
	upper := strings.ToUpper(key[:1]) + key[1:]
	if _, ok := configKeys()[upper]; ok {
		return upper
	}
	return key
}

// config returns the image's config with its keys in order and in OCI's
// spelling, the values of known keys checked.
func (d *decoder) config(v value) *ordjson.Object {
	out := &ordjson.Object{}
	if v.kind != object {
		d.want(v, "an object as in the OCI image specification")
		return out
	}
	known := configKeys()
	names := slices.Collect(maps.Keys(known))
	spelling := map[string]string{}
	for _, m := range v.members {
		key := canonicalKey(m.key.text)
		field := value{m.value, joinField(v.field, m.key.text)}
		kind, ok := known[key]
		if before, twice := spelling[key]; twice {
			d.add(place(m), field.field, "given twice: as %s and as %s", quote(before), quote(m.key.text))
			continue
		}
		spelling[key] = m.key.text
		var item any
		switch {
		case ok:
			item = d.configValue(field, kind)
		case slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, key) }):
			// Engines written in Go would read it as the key that it resembles.
			d.add(place(m), field.field, "unknown key%s", didYouMean(key, names))
		default:
			item = d.json(field)
		}
		out.Set(key, item)
	}
	return out
}

// configValue checks the value of a known key. null stays null.
func (d *decoder) configValue(v value, kind configKind) any {
	if v.kind == null {
		return nil
	}
	switch kind {
	case configString:
		s, ok := d.line(v)
		if ok && strings.HasSuffix(v.field, "orkingDir") && s != "" && !path.IsAbs(s) {
			d.fail(v, "got %s, want an absolute path", quote(s))
		}
		return s
	case configBool:
		return d.bool(v)
	case configInteger:
		if strings.HasSuffix(v.field, "topTimeout") {
			v = d.duration(v, time.Second, "seconds")
		}
		if v.kind != number && !v.loose() || strings.Trim(v.text, "-0123456789") != "" {
			d.want(v, "a whole number")
			return nil
		}
		return d.json(value{&node{kind: number, text: v.text, flag: v.flag, line: v.line, column: v.column}, v.field})
	case configStrings, configEnv:
		return d.configList(v, kind)
	case configSet:
		d.each(v, `an object such as {"8080/tcp": {}}`, func(v value) {
			if v.kind != object && v.kind != null {
				d.want(v, "{}")
			}
		})
	case configLabels:
		d.each(v, "an object with strings", func(v value) {
			if v.kind != null { // Docker reads it as an empty one
				d.string(v)
			}
		})
	case configPorts:
		d.each(v, `an object such as {"8080/tcp": {}}`, func(v value) {
			if v.kind != object && v.kind != null {
				d.want(v, "{}")
			}
		})
		for _, m := range v.members {
			if !isPort(m.key.text) {
				d.add(m.key, v.field, "%s is not a valid port: want 8080, 8080/udp or 8000-8010/tcp", quote(m.key.text))
			}
		}
	case configHealth:
		v = d.health(v)
	}
	return d.json(v)
}

// isPort reports whether key can be in ExposedPorts: a port or a range of ports,
// and perhaps a protocol (OCI image-spec, config.md).
func isPort(key string) bool {
	ports, protocol, named := strings.Cut(key, "/")
	if named && protocol != "tcp" && protocol != "udp" && protocol != "sctp" {
		return false
	}
	first, last, isRange := strings.Cut(ports, "-")
	low, err := strconv.ParseUint(first, 10, 16)
	if err != nil || !isRange {
		return err == nil && low > 0
	}
	high, err := strconv.ParseUint(last, 10, 16)
	return err == nil && low > 0 && low <= high
}

// health checks a Healthcheck (moby's HealthConfig) and returns it with its
// times as numbers of nanoseconds, the only form that Docker reads.
func (d *decoder) health(v value) value {
	if v.kind != object {
		d.want(v, "an object")
		return v
	}
	out := *v.node
	out.members = slices.Clone(v.members)
	for i, m := range out.members {
		item := value{m.value, joinField(v.field, m.key.text)}
		switch m.key.text {
		case "Test":
			d.configList(item, configStrings)
		case "Interval", "Timeout", "StartPeriod", "StartInterval":
			item = d.duration(item, time.Nanosecond, "nanoseconds")
			out.members[i].value = item.node
			fallthrough
		case "Retries":
			if item.kind != null && (item.kind != number || strings.Trim(item.text, "0123456789") != "") {
				d.fail(item, `got %s, want a whole number, or for a time one with units such as "30s"`, item.describe())
			}
		}
	}
	return value{&out, v.field}
}

// duration returns a time with units, such as "1m30s", as the number of whole
// units that engines read; it returns anything else as it is.
func (d *decoder) duration(v value, unit time.Duration, units string) value {
	if v.kind != text || strings.Trim(v.text, "-0123456789") == "" {
		return v
	}
	t, err := time.ParseDuration(v.text)
	if err != nil || t < 0 || t%unit != 0 {
		d.fail(v, `got %s, want a time in whole %s such as "1m30s", or the number of them`, v.describe(), units)
		t = 0
	}
	out := *v.node
	out.kind, out.text = number, strconv.FormatInt(int64(t/unit), 10)
	return value{&out, v.field}
}

// each calls item for every member of an object.
func (d *decoder) each(v value, wanted string, item func(value)) {
	if v.kind != object {
		d.want(v, wanted)
		return
	}
	for _, m := range v.members {
		item(value{m.value, joinField(v.field, m.key.text)})
	}
}

// configList returns a list of strings that can be passed to a program.
func (d *decoder) configList(v value, kind configKind) any {
	out := []any{}
	if v.kind == text {
		d.fail(v, "got %s, want a list of strings: write [%s]", v.describe(), quote(v.text))
		return out
	}
	d.items(v, "a list of strings", func(v value) {
		s, ok := d.string(v)
		switch {
		case !ok:
		case strings.Contains(s, "\x00"):
			d.fail(v, "%s holds a NUL: no program can be given that", quote(s))
		case kind == configEnv && strings.Index(s, "=") < 1:
			d.fail(v, "got %s, want NAME=value", quote(s))
		}
		out = append(out, s)
	})
	return out
}

// json returns v as a value of ordjson.
func (d *decoder) json(v value) any {
	switch v.kind {
	case boolean:
		return strings.EqualFold(v.text, "true")
	case number:
		if !json.Valid([]byte(v.text)) {
			d.fail(v, "got %s, want a number as JSON has it: decimal, no leading zero", v.describe())
		}
		return json.Number(v.text)
	case text:
		return v.text
	case list:
		out := []any{}
		for i, n := range v.items {
			out = append(out, d.json(value{n, v.field + "[" + itoa(i) + "]"}))
		}
		return out
	case object:
		out := &ordjson.Object{}
		for _, m := range v.members {
			item := d.json(value{m.value, joinField(v.field, m.key.text)})
			out.Members = append(out.Members, ordjson.Member{Key: m.key.text, Value: item})
		}
		return out
	}
	return nil
}
