package spec

import (
	"regexp"
	"strings"
	"sync"

	"github.com/varve-image/varve/image/ordjson"
)

// User is a user that the image gets.
type User struct {
	// The user's name, as useradd takes it.
	Name string `json:"name"`
	// The user id. Default: the first one from 1000 on that is free, for a group
	// as well if the user gets one of its own.
	UID *uint32 `json:"uid,omitempty"`
	// The id of the user's group. Default: that of the group with the user's
	// name, which is made with the user's id if there is none.
	GID *uint32 `json:"gid,omitempty"`
	// The name of the user's group, in the place of gid.
	Group string `json:"group,omitempty"`
	// The names of other groups that the user is a member of.
	Groups []string `json:"groups,omitempty"`
	// What /etc/passwd says about the user, such as a full name. Default: nothing.
	Comment string `json:"comment,omitempty"`
	// The home directory. Default: /home/ and the name.
	Home string `json:"home,omitempty"`
	// Whether the home directory is made if it is missing, with mode 0755, as the
	// user's own. Default: true, for a user that is new.
	CreateHome *bool `json:"createHome,omitempty"`
	// The program that a login starts. Default: /bin/sh.
	Shell string `json:"shell,omitempty"`
}

// UserGroup is a group of users that the image gets.
type UserGroup struct {
	// The group's name, as groupadd takes it.
	Name string `json:"name"`
	// The group id. Default: that of the user of the spec with this name, else
	// the first one from 1000 on that is free.
	GID *uint32 `json:"gid,omitempty"`
	// The names of users that are members of the group.
	Members []string `json:"members,omitempty"`
}

// maxAccount is the longest name of a user or group: utmp has no room for more.
const maxAccount = 32

var accountPattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[A-Za-z0-9_.][A-Za-z0-9_.-]*\$?$`)
})

// isAccount reports whether s can be the name of a user or group, by the rules
// of shadow's programs.
func isAccount(s string) bool {
	return len(s) <= maxAccount && accountPattern().MatchString(s) && strings.Trim(s, "0123456789") != "" && s != "." && s != ".."
}

// account returns the name of a user or group.
func (d *decoder) account(v value) string {
	s, ok := d.filled(v, "a name")
	switch {
	case !ok || isAccount(s):
	case len(s) > maxAccount:
		d.fail(v, "%s is longer than %d characters", quote(s), maxAccount)
	default:
		d.fail(v, "%s is not a valid name of a user or group: want letters, digits and . _ -, no - at the beginning, and not digits alone", quote(s))
	}
	return s
}

func (d *decoder) accountNames(v value) []string {
	var list []string
	d.oneOrMore(v, "a list of names", func(v value) { list = append(list, d.account(v)) })
	return list
}

// users returns the items of users: names, or objects.
func (d *decoder) users(v value) []User {
	var list []User
	names, ids := map[string]bool{}, map[uint32]string{}
	d.oneOrMore(v, "a list of names or of {name, uid, …}", func(v value) {
		u := d.user(v)
		d.once(v, "user", u.Name, u.UID, names, ids)
		list = append(list, u)
	})
	return list
}

// once reports a name or an id that was given before.
func (d *decoder) once(v value, what, name string, id *uint32, names map[string]bool, ids map[uint32]string) {
	if names[name] {
		d.fail(v, "the %s %s is given twice", what, quote(name))
	} else if id != nil && ids[*id] != "" {
		d.fail(v, "the %s %s has the id %d of %s", what, quote(name), *id, quote(ids[*id]))
	}
	if name == "" { // reported already
		return
	}
	if names[name] = true; id != nil {
		ids[*id] = name
	}
}

func (d *decoder) user(v value) (u User) {
	if v.kind == text {
		u.Name = d.account(v)
		return u
	}
	if !d.object(v, "a name or an object with name, uid and more", fields{
		"name":       func(v value) { u.Name = d.account(v) },
		"uid":        func(v value) { u.UID = d.idPointer(v) },
		"gid":        func(v value) { u.GID = d.idPointer(v) },
		"group":      func(v value) { u.Group = d.account(v) },
		"groups":     func(v value) { u.Groups = d.accountNames(v) },
		"comment":    func(v value) { u.Comment = d.accountText(v) },
		"home":       func(v value) { u.Home = d.accountPath(v) },
		"createHome": func(v value) { u.CreateHome = new(d.bool(v)) },
		"shell":      func(v value) { u.Shell = d.accountPath(v) },
	}) {
		return u
	}
	d.required(v, "name", "the user's name")
	if u.GID != nil && u.Group != "" {
		d.failAt(v, "group", "gid and group are two ways to say the same: remove one")
	}
	return u
}

// accountText returns text of /etc/passwd.
func (d *decoder) accountText(v value) string {
	s, ok := d.line(v)
	if ok && strings.Contains(s, ":") {
		d.fail(v, "%s holds a colon, which separates the parts of a line of /etc/passwd", quote(s))
	}
	return s
}

// accountPath returns an absolute, clean path in the image that /etc/passwd can hold.
func (d *decoder) accountPath(v value) string {
	before := len(d.list) + d.dropped
	s := d.accountText(v)
	switch {
	case len(d.list)+d.dropped > before: // reported
		return ""
	case !strings.HasPrefix(s, "/"):
		d.fail(v, "got %s, want an absolute path", quote(s))
		return ""
	}
	return d.inImage(v)
}

// userGroups returns the items of groups: names, or objects.
func (d *decoder) userGroups(v value) []UserGroup {
	var list []UserGroup
	names, ids := map[string]bool{}, map[uint32]string{}
	d.oneOrMore(v, "a list of names or of {name, gid, members}", func(v value) {
		g := d.userGroup(v)
		d.once(v, "group", g.Name, g.GID, names, ids)
		list = append(list, g)
	})
	return list
}

func (d *decoder) userGroup(v value) (g UserGroup) {
	if v.kind == text {
		g.Name = d.account(v)
		return g
	}
	if d.object(v, "a name or an object with name, gid and members", fields{
		"name":    func(v value) { g.Name = d.account(v) },
		"gid":     func(v value) { g.GID = d.idPointer(v) },
		"members": func(v value) { g.Members = d.accountNames(v) },
	}) {
		d.required(v, "name", "the group's name")
	}
	return g
}

func (u User) object() any {
	o := &ordjson.Object{}
	set := setter(o)
	set("name", u.Name)
	setID(o, "uid", u.UID)
	setID(o, "gid", u.GID)
	set("group", u.Group)
	set("groups", jsonTexts(u.Groups))
	set("comment", u.Comment)
	set("home", u.Home)
	if u.CreateHome != nil {
		o.Set("createHome", *u.CreateHome)
	}
	set("shell", u.Shell)
	return o
}

func (g UserGroup) object() any {
	o := &ordjson.Object{}
	set := setter(o)
	set("name", g.Name)
	setID(o, "gid", g.GID)
	set("members", jsonTexts(g.Members))
	return o
}

// setID sets an id, also 0.
func setID(o *ordjson.Object, key string, id *uint32) {
	if id != nil {
		o.Set(key, number32(id))
	}
}
