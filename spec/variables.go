package spec

import (
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// variables are the values that ${NAME} stands for in the texts of a spec that has args.
type variables struct {
	d *decoder
	// args are the arguments with their values, in the order of their names.
	args map[string]*argument
	// platform holds the values of ${os}, ${arch}, ${variant} and ${platform}; nil while the
	// platform itself is read.
	platform map[string]string
	// size counts the bytes of what was replaced.
	size int
}

// argument is one of a spec's args.
type argument struct {
	key  *node
	text string
	used bool
	// unset says that there is no value, which has been reported.
	unset bool
}

// reservedNames are those that scripts' environment has already, and those of the platform.
func reservedNames() []string {
	return []string{"HOME", "LC_ALL", "PATH", "SOURCE_DATE_EPOCH", "TMPDIR", "TZ", "os", "arch", "variant", "platform"}
}

// scriptFields are the fields whose texts are scripts, in which nothing is replaced.
func scriptFields() []string {
	return []string{"extraCommands", "fakeRootCommands", "runAsRoot", "run"}
}

// readArgs returns the variables of a spec, with the values that set gives; nil for one without
// args.
func (d *decoder) readArgs(root *node, set []Argument) *variables {
	i := root.index("args")
	if i < 0 || root.members[i].value.kind == null {
		for _, a := range set {
			d.add(a.node(), "args", "the spec has no argument %s: it declares them as args: {%s: \"a default\"}", quote(a.Name), a.Name)
		}
		return nil
	}
	v := &variables{d: d, args: map[string]*argument{}}
	at := value{root.members[i].value, "args"}
	if at.kind != object {
		d.want(at, `an object of names and values, such as {VERSION: "1.0"}`)
		return v
	}
	values := d.given(set)
	for _, m := range at.members {
		field := value{m.value, joinField("args", m.key.text)}
		if n, ok := values[m.key.text]; ok {
			field.node = n
			delete(values, m.key.text)
		}
		v.args[m.key.text] = d.argument(m.key, field)
	}
	names := slices.Sorted(maps.Keys(v.args))
	for name, n := range values {
		d.add(n, "args", "the spec has no argument %s%s", quote(name), didYouMean(name, names))
	}
	v.mention(value{root, ""}, "")
	return v
}

// given returns the values that are set, by name.
func (d *decoder) given(set []Argument) map[string]*node {
	values := map[string]*node{}
	for _, a := range set {
		n := a.node()
		if before, ok := values[a.Name]; ok {
			d.add(n, "args", "%s is given twice: %s and %s", quote(a.Name), quote(before.text), quote(a.Value))
		}
		values[a.Name] = n
	}
	return values
}

// argument reads one argument.
func (d *decoder) argument(key *node, v value) *argument {
	a := &argument{key: key, unset: true}
	switch {
	case !isName(key.text):
		d.add(key, v.field, "%s is no name of an argument: want letters, digits and _, the first no digit", quote(key.text))
	case slices.Contains(reservedNames(), key.text):
		d.add(key, v.field, "%s has a meaning already: choose another name", quote(key.text))
	case v.kind == null:
		d.fail(v, "it has no default: give it a value with --set %s=VALUE", key.text)
	case v.kind != text && v.kind != number && v.kind != boolean:
		d.want(v, wantString)
	case strings.ContainsRune(v.text, 0):
		d.fail(v, "the value holds a NUL character")
	case !utf8.ValidString(v.text):
		d.fail(v, "%s is not UTF-8", quote(v.text))
	default:
		a.text, a.unset = v.text, false
	}
	return a
}

// platformTexts replaces variables in the texts that say what the platform is.
func (v *variables) platformTexts(root *node) {
	for _, name := range []string{"os", "architecture", "variant"} {
		if i := root.index(name); i >= 0 {
			v.replace(value{root.members[i].value, name}, false)
		}
	}
}

// texts replaces variables in all other texts but those of args and scripts.
func (v *variables) texts(root *node, p Platform) {
	v.platform = p.names()
	for _, m := range root.members {
		switch m.key.text {
		case "args", "os", "architecture", "variant":
		default:
			v.member(value{m.value, m.key.text}, m.key.text, false)
		}
	}
}

// member replaces variables in a field with a name, and below it. free says that .. means nothing.
func (v *variables) member(at value, name string, free bool) {
	if isScript(at.field, name) {
		return
	}
	free = (free || slices.Contains([]string{"config", "labels", "annotations", "content"}, name)) && canonicalKey(name) != "WorkingDir"
	env := strings.HasPrefix(at.field, "config.") && canonicalKey(name) == "Env"
	for i, item := range at.items {
		one := value{item, at.field + "[" + itoa(i) + "]"}
		if env {
			v.environment(one)
			continue
		}
		v.member(one, "", free)
	}
	for _, m := range at.members {
		v.member(value{m.value, joinField(at.field, m.key.text)}, m.key.text, free)
	}
	v.replace(at, free)
}

// isScript reports whether a field, with this name, holds scripts: one of the image or of a layer.
func isScript(field, name string) bool {
	parent := strings.TrimSuffix(strings.TrimSuffix(field, name), ".")
	ofLayer := strings.HasPrefix(parent, "layers[") && strings.HasSuffix(parent, "]") && strings.Count(parent, "[") == 1
	return slices.Contains(scriptFields(), name) && (parent == "" || ofLayer)
}

// mention marks the arguments that a field, and what is below it, mentions as used. A script has
// all of them in its environment.
func (v *variables) mention(at value, name string) {
	if isScript(at.field, name) && at.kind != null {
		for _, a := range v.args {
			a.used = true
		}
		return
	}
	for i, item := range at.items {
		v.mention(value{item, at.field + "[" + itoa(i) + "]"}, "")
	}
	for _, m := range at.members {
		if field := joinField(at.field, m.key.text); field != "args" {
			v.mention(value{m.value, field}, m.key.text)
		}
	}
	for at.kind == text {
		_, after, found := strings.Cut(at.text, "${")
		if !found {
			return
		}
		name, _ := variableName(after)
		if a, ok := v.args[name]; ok {
			a.used = true
		}
		at = value{&node{kind: text, text: after}, at.field}
	}
}

// unused reports the arguments that nothing mentions.
func (v *variables) unused() {
	for _, name := range slices.Sorted(maps.Keys(v.args)) {
		if a := v.args[name]; !a.used {
			v.d.add(a.key, joinField("args", name), "nothing uses it: write ${%s} where it belongs, or remove it", name)
		}
	}
}

// forScripts returns what the scripts of s have in their environment: never nil.
func (v *variables) forScripts(s *Spec) []KeyValue {
	values := map[string]string{}
	if !s.HasSteps() {
		return sortedPairs(values)
	}
	for name, a := range v.args {
		values[name] = a.text
	}
	return sortedPairs(values)
}

// replace replaces ${NAME} in a text, once: not in what it was replaced by. $${ stands for ${.
func (v *variables) replace(at value, free bool) {
	if at.kind != text || !strings.Contains(at.text, "${") {
		return
	}
	var out, bare strings.Builder // bare has x for each value
	for s := at.text; ; {
		before, after, found := strings.Cut(s, "${")
		out.WriteString(before)
		bare.WriteString(before)
		if !found {
			break
		}
		if strings.HasSuffix(before, "$") {
			out.WriteString("{") // before has the $
			bare.WriteString("{")
			s = after
			continue
		}
		name, rest, closed := strings.Cut(after, "}")
		if !closed {
			v.d.fail(at, "%s has no end of its ${: write $${ for one that is part of the text", quote(at.text))
			return
		}
		val, ok := v.lookup(at, name)
		if !ok {
			at.kind = invalid
			return
		}
		out.WriteString(val)
		bare.WriteString("x")
		s = rest
	}
	if !free && climbing(out.String()) > climbing(bare.String()) {
		v.d.fail(at, "with the values of its variables it is %s: they may not bring .. into a path", quote(out.String()))
		at.kind = invalid
		return
	}
	v.set(at, out.String())
}

// set gives a node the text that its variables make.
func (v *variables) set(at value, s string) {
	if v.size += len(s); v.size > MaxSize {
		if v.size-len(s) <= MaxSize {
			v.d.fail(at, "with the values of its variables the spec is larger than %d MiB", MaxSize>>20)
		}
		at.kind = invalid
		return
	}
	at.text, at.replaced = s, true
}

// lookup returns the value of a variable.
func (v *variables) lookup(at value, name string) (string, bool) {
	if a, ok := v.args[name]; ok {
		a.used = true
		return a.text, !a.unset
	}
	s, ok := v.platform[name]
	switch names := v.names(); {
	case !ok:
		v.d.fail(at, "%s is none of ${%s}%s; declare it in args, or write $${ for a ${ that is part of the text",
			quote("${"+name+"}"), strings.Join(names, "}, ${"), didYouMean(name, names))
	case s == "" && name == "arch":
		v.d.fail(at, "%s: the architecture is not known: give one", quote("${arch}"))
		ok = false
	}
	return s, ok
}

func (v *variables) names() []string {
	return slices.Sorted(maps.Keys(union(v.args, v.platform)))
}

// union returns a set of the keys of both.
func union(a map[string]*argument, b map[string]string) map[string]bool {
	all := map[string]bool{}
	for name := range a {
		all[name] = true
	}
	for name := range b {
		all[name] = true
	}
	return all
}

// environment replaces the arguments in a variable of Env. What is left are other variables of the
// environment, for which ExpandEnv looks: there, $$ stands for a $.
func (v *variables) environment(at value) {
	if at.kind != text || !strings.Contains(at.text, "$") {
		return
	}
	var out strings.Builder
	for s := at.text; ; {
		before, after, found := strings.Cut(s, "$")
		out.WriteString(before)
		if !found {
			break
		}
		name, rest := variableName(strings.TrimPrefix(after, "{"))
		rest, closed := strings.CutPrefix(rest, "}")
		_, known := v.args[name]
		_, ofPlatform := v.platform[name]
		switch {
		case strings.HasPrefix(after, "$"):
			out.WriteString("$$")
			s = after[1:]
		case strings.HasPrefix(after, "{") && closed && (known || ofPlatform):
			val, ok := v.lookup(at, name)
			if !ok {
				at.kind = invalid
				return
			}
			out.WriteString(strings.ReplaceAll(val, "$", "$$"))
			s = rest
		default:
			out.WriteString("$")
			s = after
		}
	}
	if _, err := ExpandEnv(out.String(), func(string) (string, bool) { return "", true }); err != nil {
		v.d.fail(at, "%s", err.Error())
	}
	v.set(at, out.String())
}

// climbing counts the parts of a path, or of several with colons between, that are "..".
func climbing(s string) int {
	n := 0
	for part := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == '/' || r == ':' }) {
		if part == ".." {
			n++
		}
	}
	return n
}
