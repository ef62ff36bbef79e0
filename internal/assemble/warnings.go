package assemble

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/spec"
	"github.com/varve-image/varve/tree"
)

// warnf adds a warning.
func (b *builder) warnf(format string, args ...any) {
	b.result.Warnings = append(b.result.Warnings, fmt.Sprintf(format, args...))
}

// warn adds what can be told of a finished image: fields that have no effect, and a
// config that does not go with the image's files.
func (b *builder) warn() {
	if b.opts.NoWarnings {
		return
	}
	b.warnUnused()
	b.warnTakesNothing()
	b.warnLiteral()
	config := configWarnings{b, imageFiles{b}, b.config}
	config.user()
	config.programs()
}

// warnIdle warns of an exclude that matches nothing of a source.
func (b *builder) warnIdle(field, source, glob string, entries []*tree.Entry) {
	hint := "remove it, or write another"
	deeper := "**/" + strings.TrimLeft(glob, "/")
	if _, idle, err := tree.Exclude(entries, []string{deeper}); err == nil && len(idle) == 0 {
		hint = fmt.Sprintf("globs start at the source's root: %q matches at any depth", deeper)
	}
	b.warnf("%s: exclude %q matches nothing in %q: %s", field, glob, source, hint)
}

// warnUnused warns of fields that have no effect beside the others.
func (b *builder) warnUnused() {
	s := b.spec
	owner := s.UID != 0 || s.GID != 0 || s.Uname != "root" || s.Gname != "root"
	if owner && len(b.closurePaths()) == 0 && s.Layering != spec.Single && !b.namesBuilt() {
		b.warnf("uid, gid, uname and gname are of store paths, which the image has none of: copyToRoot has owner (owner: \"%d:%d\"), and perms gives owners by path (--perm '/**::%d:%d')", s.UID, s.GID, s.UID, s.GID)
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

// namesBuilt tells that there are layers that were built by themselves.
func (b *builder) namesBuilt() bool {
	return slices.ContainsFunc(b.spec.Layers, func(g spec.Group) bool { return g.Built != "" })
}

// warnTakesNothing warns of a null that takes nothing of the base's away.
func (b *builder) warnTakesNothing() {
	if b.base == nil || b.spec.Inherit != spec.InheritAll {
		return
	}
	below, err := b.base.image.Run()
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

// variable is a reference to a variable as shells and Dockerfiles have them: ${X},
// or $X in capitals.
var variable = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`\$(\{[A-Za-z_][A-Za-z0-9_]*[}:?+-]|[A-Z_][A-Z0-9_]*)`)
})

// warnLiteral warns of variables in what nothing expands: engines pass it on as it
// is written.
func (b *builder) warnLiteral() {
	for _, m := range b.spec.Config.Members {
		switch v := m.Value.(type) {
		case string:
			b.warnVariable("config."+m.Key, m.Key, v, m.Key == "User" || m.Key == "WorkingDir")
		case *ordjson.Object:
			for _, item := range v.Members {
				text, _ := item.Value.(string)
				b.warnVariable("config."+m.Key, item.Key, item.Key+" "+text, isKeyed(m.Key))
			}
		case []any:
			for _, item := range v {
				text, _ := item.(string)
				name, value, _ := strings.Cut(text, "=")
				b.warnVariable("config.Env", name, value, m.Key == "Env" && !isPrompt(name))
			}
		}
	}
	for _, a := range b.spec.Annotations {
		b.warnVariable("annotations", a.Key, a.Value, true)
	}
}

// isPrompt tells the variables in which a shell expands variables itself.
func isPrompt(name string) bool {
	return name == "PROMPT_COMMAND" || len(name) == 3 && strings.HasPrefix(name, "PS")
}

// warnVariable warns of a value that is checked, if it refers to a variable. What
// has several lines is a script for somebody.
func (b *builder) warnVariable(field, name, value string, checked bool) {
	found := variable().FindString(value)
	if !checked || found == "" || strings.Contains(value, "\n") {
		return
	}
	if strings.HasPrefix(found, "${") {
		found = strings.TrimRight(found, "}:?+-") + "}"
	}
	hint := "write its value"
	if name == "PATH" {
		hint += ", such as PATH=/opt/bin:" + cmp.Or(b.basePath(), defaultSearch)
	}
	b.warnf("%s: %q holds %s, which nothing expands: %s", field, name, found, hint)
}

// basePath is the PATH of the base image; empty for none.
func (b *builder) basePath() string {
	if b.base == nil {
		return ""
	}
	config, _ := b.base.image.Config.Object("config")
	return searchPath(config)
}
