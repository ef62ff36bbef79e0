package assemble

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/spec"
	"github.com/varve-image/varve/tree"
)

// warnf adds a warning.
func (b *builder) warnf(format string, args ...any) {
	b.warnings = append(b.warnings, fmt.Errorf(format, args...))
}

// OwnerWarning is about a spec that sets an owner for store paths but has no store paths.
type OwnerWarning struct{ UID, GID uint32 }

func (w *OwnerWarning) Error() string {
	return fmt.Sprintf("uid, gid, uname and gname are of store paths, which the image has none of: "+
		"copyToRoot has owner (owner: \"%d:%d\"), and perms gives owners by path", w.UID, w.GID)
}

// UnsteadyWarning is about a script that left something else than when it ran before, although it
// saw the same.
type UnsteadyWarning struct{ Name string }

func (w *UnsteadyWarning) Error() string {
	return fmt.Sprintf("%s: the script ran before with the same files and left others: what it makes depends on the time or on chance, and images will differ", w.Name)
}

// warn adds warnings about a finished image: fields that have no effect, and a
// config that does not fit the image's files.
func (b *builder) warn(d *image.Description, below stack, needed *closure) {
	if b.opts.NoWarnings {
		return
	}
	b.warnUnused(needed)
	b.warnTakesNothing(below.base)
	b.warnLiteral(below.base)
	config := configWarnings{b, d, imageFiles{below, b.spec.StoreDir, b.opts.storeRoot()}}
	config.user()
	config.programs()
}

// warnIdle warns of an exclude that matches nothing in its source.
func (b *builder) warnIdle(field, source, glob string, entries []*tree.Entry) {
	hint := "remove it, or write another"
	deeper := "**/" + strings.TrimLeft(glob, "/")
	if _, idle, err := tree.Exclude(entries, []string{deeper}); err == nil && len(idle) == 0 {
		hint = fmt.Sprintf("globs start at the source's root: %q matches at any depth", deeper)
	}
	b.warnf("%s: exclude %q matches nothing in %q: %s", field, glob, source, hint)
}

// warnUnused warns of fields that have no effect in combination with the others.
func (b *builder) warnUnused(needed *closure) {
	s := b.spec
	owner := s.UID != 0 || s.GID != 0 || s.Uname != "root" || s.Gname != "root"
	if owner && len(needed.paths()) == 0 && s.Layering != spec.Single && !b.namesBuilt() {
		b.warnings = append(b.warnings, &OwnerWarning{s.UID, s.GID})
	}
	for _, f := range []struct {
		field  string
		unused bool
		needs  string
	}{
		{"fromImageName and fromImageTag", s.FromImageName != "" && s.FromImage == "", "a base image, which fromImage names"},
		{"enableFakechroot", s.EnableFakechroot && s.FakeRootCommands == "", "fakeRootCommands"},
		{"shell", s.Shell != "" && !s.HasSteps(), "a script: runAsRoot, extraCommands or fakeRootCommands"},
		{"isolation", s.Isolation != spec.UserNS && !s.HasSteps(), "a script: runAsRoot, extraCommands or fakeRootCommands"},
		{"network", s.Network != spec.NetworkNone && !s.HasSteps(), "a script: runAsRoot, extraCommands or fakeRootCommands"},
	} {
		if f.unused {
			b.warnf("%s has no effect without %s", f.field, f.needs)
		}
	}
}

// namesBuilt reports whether there are layers that were built by themselves.
func (b *builder) namesBuilt() bool {
	return slices.ContainsFunc(b.spec.Layers, func(g spec.Group) bool { return g.Built != "" })
}

// warnTakesNothing warns of a null that removes nothing from the base's config.
func (b *builder) warnTakesNothing(base *base) {
	if base == nil || b.spec.Inherit != spec.InheritAll {
		return
	}
	below, err := base.image.Run()
	if err != nil {
		return
	}
	for _, m := range b.spec.Config.Members {
		own, _ := m.Value.(*ordjson.Object)
		if !isKeyed(m.Key) || own == nil {
			continue
		}
		inherited, _ := below.Object(m.Key)
		for _, item := range own.Members {
			if _, there := inherited.Get(item.Key); item.Value == nil && !there {
				b.warnf("config.%s: null takes %q of the base image away, which has none: write {} or a text to add it", m.Key, item.Key)
			}
		}
	}
}

// variable matches a reference to a variable as in shells and Dockerfiles: ${X}, or
// $X in capitals.
var variable = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`\$(\{[A-Za-z_][A-Za-z0-9_]*[}:?+-]|[A-Z_][A-Z0-9_]*)`)
})

// warnLiteral warns of variables in text that nothing expands: engines pass it on
// as it is written.
func (b *builder) warnLiteral(base *base) {
	if b.spec.Args != nil { // there they are expanded, or written with $$
		return
	}
	for _, m := range b.spec.Config.Members {
		switch v := m.Value.(type) {
		case string:
			b.warnVariable(base, "config."+m.Key, m.Key, v, m.Key == "User" || m.Key == "WorkingDir")
		case *ordjson.Object:
			for _, item := range v.Members {
				text, _ := item.Value.(string)
				b.warnVariable(base, "config."+m.Key, item.Key, item.Key+" "+text, isKeyed(m.Key))
			}
		case []any:
			for _, item := range v {
				text, _ := item.(string)
				name, value, _ := strings.Cut(text, "=")
				b.warnVariable(base, "config.Env", name, value, m.Key == "Env" && !isPrompt(name))
			}
		}
	}
	for _, a := range b.spec.Annotations {
		b.warnVariable(base, "annotations", a.Key, a.Value, true)
	}
}

// isPrompt reports whether a shell expands variables in the value of this variable
// itself.
func isPrompt(name string) bool {
	return name == "PROMPT_COMMAND" || len(name) == 3 && strings.HasPrefix(name, "PS")
}

// warnVariable warns of a checked value that refers to a variable. A value of
// several lines is probably a script for another program.
func (b *builder) warnVariable(base *base, field, name, value string, checked bool) {
	found := variable().FindString(value)
	if !checked || found == "" || strings.Contains(value, "\n") {
		return
	}
	if strings.HasPrefix(found, "${") {
		found = strings.TrimRight(found, "}:?+-") + "}"
	}
	hint := "write its value"
	if name == "PATH" {
		hint += ", such as PATH=/opt/bin:" + cmp.Or(base.searchPath(), defaultSearch)
	}
	b.warnf("%s: %q holds %s, which nothing expands: %s", field, name, found, hint)
}

// searchPath returns the PATH of the base image; empty for none.
func (b *base) searchPath() string {
	if b == nil {
		return ""
	}
	config, _ := b.image.Config.Object("config")
	return searchPath(config)
}
