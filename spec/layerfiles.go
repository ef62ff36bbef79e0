package spec

import (
	"path"
	"slices"
	"strings"

	"github.com/varve-image/varve/image/ordjson"
)

// LayerFiles is what the top layer and each explicit layer can have besides what
// is copied into them.
type LayerFiles struct {
	// Globs, ** included, of what the layers below have and this one removes,
	// and of links to contents. What the layer copies or makes is not removed, and
	// may take its place. A glob that matches nothing is an error.
	Remove []string `json:"remove,omitempty"`
	// Directories that are made, with those above them, or that get another mode
	// or owner: paths, or objects with path, mode and owner.
	Directories []Directory `json:"directories,omitempty"`
	// Symlinks that are made: for each path, the text of the link.
	Symlinks []KeyValue `json:"symlinks,omitempty"`
	// Users that are added to the image's /etc/passwd, /etc/group and, where it
	// has them, /etc/shadow and /etc/gshadow: names, or objects.
	Users []User `json:"users,omitempty"`
	// Groups of users that are added to the image's /etc/group: names, or objects.
	Groups []UserGroup `json:"groups,omitempty"`
}

// Directory is a directory of the image.
type Directory struct {
	// The directory's path in the image.
	Path string `json:"path"`
	// The mode, in octal. Default: 0755, or that of the directory that is there.
	Mode *uint32 `json:"mode,omitempty"`
	// The owner: "user:group", each a name of the image or a number, or one of
	// them for both. Default: 0:0, or that of the directory that is there.
	Owner *Owner `json:"owner,omitempty"`
}

// maxLink is the longest text of a symlink that Linux allows.
const maxLink = 4095

// layerFiles adds the fields of f to those that an object may have.
func (d *decoder) layerFiles(known fields, f *LayerFiles) fields {
	known["remove"] = func(v value) { f.Remove = d.globs(v) }
	known["directories"] = func(v value) { f.Directories = d.directories(v) }
	known["symlinks"] = func(v value) { f.Symlinks = d.symlinks(v) }
	known["users"] = func(v value) { f.Users = d.users(v) }
	known["groups"] = func(v value) { f.Groups = d.userGroups(v) }
	return known
}

// holdsFiles reports whether the object v has any of the fields of LayerFiles.
func (d *decoder) holdsFiles(v value) bool {
	return slices.ContainsFunc([]string{"remove", "directories", "symlinks", "users", "groups"}, func(name string) bool {
		i := v.index(name)
		return d.holds(v, name) && (v.members[i].value.kind != object || len(v.members[i].value.members) > 0)
	})
}

// directories returns the items of directories: paths, or objects.
func (d *decoder) directories(v value) []Directory {
	var list []Directory
	seen := map[string]bool{}
	d.oneOrMore(v, "a list of paths or of {path, mode, owner}", func(v value) {
		dir := d.directory(v)
		if seen[dir.Path] && dir.Path != "" {
			d.fail(v, "%s is given twice", quote(dir.Path))
		}
		seen[dir.Path] = true
		list = append(list, dir)
	})
	return list
}

func (d *decoder) directory(v value) (dir Directory) {
	if v.kind == text {
		dir.Path = d.inImage(v)
		return dir
	}
	if d.object(v, "a path or an object with path, mode and owner", fields{
		"path":  func(v value) { dir.Path = d.inImage(v) },
		"mode":  func(v value) { dir.Mode = d.mode(v) },
		"owner": func(v value) { dir.Owner = d.ownerInImage(v) },
	}) {
		d.required(v, "path", "the directory's path in the image")
	}
	return dir
}

// inImage returns a path in the image, absolute and clean.
func (d *decoder) inImage(v value) string {
	s := d.target(v)
	if deletes(s) {
		d.fail(v, "%s: a name that begins with .wh. removes another one in a layer", quote(s))
	}
	if s == "/" {
		return s
	}
	return strings.TrimSuffix(s, "/")
}

// deletes reports whether one of p's parts has a name with which layers say that
// something is gone.
func deletes(p string) bool { return strings.Contains(p, "/.wh.") }

// symlinks returns the symlinks of an object, in the order of their paths.
func (d *decoder) symlinks(v value) []KeyValue {
	if v.kind != object {
		d.want(v, "an object with a link's text for each path, such as {/usr/bin/python: python3}")
		return nil
	}
	links := map[string]string{}
	for _, m := range v.members {
		key := value{m.key, joinField(v.field, m.key.text)}
		name := d.inImage(key)
		if _, twice := links[name]; twice && name != "" {
			d.fail(key, "%s is given twice", quote(name))
		}
		links[name] = d.linkText(value{m.value, key.field}, name)
	}
	return sortedPairs(links)
}

// linkText returns the text of the symlink at name.
func (d *decoder) linkText(v value, name string) string {
	s, ok := d.filled(v, "what the link leads to")
	to := s
	if !path.IsAbs(to) {
		to = path.Join("/", path.Dir(name), to)
	}
	switch {
	case !ok || name == "":
	case name == "/":
		d.fail(v, "the root of the image is a directory: name a path below it")
	case len(s) > maxLink:
		d.fail(v, "%s has %d bytes: a symlink holds at most %d", quote(s), len(s), maxLink)
	case path.Clean(to) == name:
		d.fail(v, "%s leads to itself: a symlink is PATH: WHAT IT LEADS TO", quote(name))
	}
	return s
}

func (f *LayerFiles) marshal(set func(string, any)) {
	set("remove", jsonTexts(f.Remove))
	set("directories", jsonList(f.Directories, Directory.object))
	set("symlinks", pairs(f.Symlinks))
	set("users", jsonList(f.Users, User.object))
	set("groups", jsonList(f.Groups, UserGroup.object))
}

func (dir Directory) object() any {
	o := &ordjson.Object{}
	set := setter(o)
	set("path", dir.Path)
	set("mode", octal(dir.Mode))
	set("owner", dir.Owner.value())
	return o
}
