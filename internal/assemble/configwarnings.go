package assemble

import (
	"cmp"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/varve-image/varve/image"
	"github.com/varve-image/varve/image/ordjson"
	"github.com/varve-image/varve/internal/execfile"
	"github.com/varve-image/varve/internal/nixstore"
	"github.com/varve-image/varve/tree"
)

// configWarnings finds what in an image's config does not fit its files.
type configWarnings struct {
	*builder
	image *image.Description
	files imageFiles
}

// user warns of a user or group name that the image's lists do not have.
func (c configWarnings) user() {
	name, err := c.image.Config.String("User")
	if err != nil {
		return
	}
	user, group, _ := strings.Cut(name, ":")
	c.listed(user, "user", "/etc/passwd")
	c.listed(group, "group", "/etc/group")
}

// listed warns of a name that a list does not have. If both come from the base, the
// list is not read.
func (c configWarnings) listed(name, kind, list string) {
	if _, err := strconv.ParseUint(name, 10, 64); err == nil || name == "" {
		return
	}
	e := c.files.find(list)
	if e != nil {
		if _, own := c.spec.Config.Get("User"); !own && c.files.fromBase(e) {
			return
		}
		text, ok := c.files.text(e, maxListed)
		if !ok || strings.HasPrefix(text, name+":") || strings.Contains(text, "\n"+name+":") {
			return
		}
	}
	has := "the image's " + list + " does not have"
	if e == nil {
		has = "is not known in the image, which has no " + list
	}
	text := fmt.Sprintf("config.User: the %s %q %s", kind, name, has)
	if e != nil {
		text = fmt.Sprintf("config.User: %s the %s %q", has, kind, name)
	}
	c.warnf("%s, so that it cannot be started: write the number, or add the %s with %ss", text, kind, kind)
}

// programs warns of programs that the image cannot start: the one that is run first,
// and the health check.
func (c configWarnings) programs() {
	for _, field := range []string{"Entrypoint", "Cmd"} {
		if argv, err := c.image.Config.Strings(field); err == nil && len(argv) > 0 {
			c.program("config."+field, argv[0])
			break
		}
	}
	health, err := c.image.Config.Object("Healthcheck")
	if err != nil {
		return
	}
	if test, err := health.Strings("Test"); err == nil && len(test) > 1 {
		switch test[0] {
		case "CMD":
			c.program("config.Healthcheck.Test", test[1])
		case "CMD-SHELL":
			c.program("config.Healthcheck.Test", "/bin/sh")
		}
	}
}

// program warns if the image cannot start a program.
func (c configWarnings) program(field, name string) {
	place, e := c.locate(name)
	switch {
	case e == nil && c.unknown(place):
	case e == nil && strings.ContainsAny(name, " \t"):
		c.warnf("%s: the image has no file %q: each word is an item of its own, [%s]", field, name, quotedWords(name))
	case e == nil && strings.Contains(name, "/"):
		c.warnf("%s: the image has no %q: copy it there, or name where it is", field, name)
	case e == nil:
		c.warnf("%s: the image has no program %q in its PATH, %s: add it, or write where it is", field, name, place)
	case e.Type != tree.Regular:
		c.warnf("%s: %q is a %s in the image, and no program", field, name, e.Type)
	case e.Mode&0o111 == 0:
		c.warnf("%s: nobody may execute %q, whose mode is %04o: give it mode 0755, in copyToRoot or by perms", field, name, e.Mode)
	case !c.files.fromBase(e):
		c.content(field, name, e)
	}
}

// unknown reports whether a place is in a store path that this machine does not have.
func (c configWarnings) unknown(place string) bool {
	storePath, _, ok := nixstore.InStore(c.spec.StoreDir, place)
	return ok && c.files.find(storePath) == nil
}

// locate finds a program as an engine does: a name with a slash from the working
// directory, others in PATH. If the program is not there, place says where it was
// looked for.
func (c configWarnings) locate(name string) (place string, e *tree.Entry) {
	if strings.Contains(name, "/") {
		dir, _ := c.image.Config.String("WorkingDir")
		if !path.IsAbs(name) {
			name = path.Join("/", dir, name)
		}
		return name, c.files.find(name)
	}
	place = cmp.Or(searchPath(c.image.Config), defaultSearch)
	for dir := range strings.SplitSeq(place, ":") {
		if e := c.files.find(path.Join("/", dir, name)); e != nil && e.Type == tree.Regular {
			return dir, e
		}
	}
	return place, nil
}

// content warns of a program for another machine, and of one whose loader or
// interpreter is missing.
func (c configWarnings) content(field, name string, e *tree.Entry) {
	info := c.files.program(e)
	architecture := c.image.Architecture
	switch {
	case info.Kind == execfile.MachO, info.Kind == execfile.PE:
		system := map[string]string{execfile.MachO: "macOS", execfile.PE: "Windows"}[info.Kind]
		c.warnf("%s: %q is a program for %s (%s), and images run on Linux: build it for linux/%s", field, name, system, info.Kind, architecture)
	case info.Kind == execfile.ELF && info.Architecture != "" && !runs(architecture, info.Architecture):
		c.warnf("%s: %q is a program for %s, and the image is for %s: build it for that, or the image with architecture: %s", field, name, info.Architecture, architecture, info.Architecture)
	case path.IsAbs(info.Interpreter) && c.files.find(info.Interpreter) == nil && !c.unknown(info.Interpreter):
		hint := "add it, or name a program"
		if info.Kind == execfile.ELF {
			hint = "link it statically, or build on an image with its libraries"
		}
		c.warnf("%s: %q is run by %q, which the image does not have: %s", field, name, info.Interpreter, hint)
	}
}

// runs reports whether machines of an architecture run programs of another: 64-bit
// machines run those of their 32-bit relatives.
func runs(machine, program string) bool {
	return machine == program || machine == "amd64" && program == "386" || machine == "arm64" && program == "arm" ||
		machine == "mips64" && program == "mips" || machine == "mips64le" && program == "mipsle"
}

// defaultSearch is where Docker looks for programs if an image has no PATH.
const defaultSearch = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// searchPath returns the PATH of a config; empty for none.
func searchPath(config *ordjson.Object) (found string) {
	env, _ := config.Strings("Env")
	for _, item := range env {
		if value, ok := strings.CutPrefix(item, "PATH="); ok {
			found = value
		}
	}
	return found
}

// quotedWords returns the words of a text as items of a list.
func quotedWords(text string) string {
	words := strings.Fields(text)
	for i, w := range words {
		words[i] = strconv.Quote(w)
	}
	return strings.Join(words, ", ")
}
