package rootfs

import (
	"errors"
	"fmt"
	"strconv"
)

// User is a user to add. Fields that are nil or empty are not stated.
type User struct {
	Name     string
	UID, GID *uint32
	// Group is the name of the user's group, in the place of GID.
	Group string
	// Groups are the other groups that the user is a member of.
	Groups               []string
	Comment, Home, Shell string
}

// Group is a group of users to add.
type Group struct {
	Name    string
	GID     *uint32
	Members []string
}

// Added is what became of a User.
type Added struct {
	UID, GID uint32
	Home     string
	// New says that there was no user with the name.
	New bool
}

// The ids that users and groups get who have none stated, as login.defs has them.
const firstID, lastID = 1000, 60000

// AccountError says what is wrong with an element of a list.
type AccountError struct {
	// Field is the element, such as users[2].
	Field string
	Err   error
}

func (e *AccountError) Error() string { return e.Field + ": " + e.Err.Error() }

func (e *AccountError) Unwrap() error { return e.Err }

// Add adds groups and then users, in their order, and at last makes users members of
// groups. What is there already with the same values stays as it is; other values
// are an error. Lists that are missing are begun as the preset nss has them. The error joins an *AccountError for each element that is wrong.
//
// A user without a uid gets the first one from 1000 on that is free. A user without a
// group gets one of the same name, which is made with the user's id if there is none.
// Other groups without a gid get the first free one, too. Ids that other elements
// state are not free.
func (a *Accounts) Add(users []User, groups []Group) ([]Added, error) {
	adder := &adder{Accounts: a, uids: map[uint32]bool{}, gids: map[uint32]bool{}, wanted: map[string]*uint32{}}
	if len(users)+len(groups) > 0 {
		a.passwd.begin(passwdList())
		a.group.begin(groupList())
	}
	adder.reserve(users, groups)
	var errs []error
	fail := func(list string, i int, err error) {
		if err != nil {
			errs = append(errs, &AccountError{fmt.Sprintf("%s[%d]", list, i), err})
		}
	}
	for i, g := range groups {
		fail("groups", i, adder.group(g))
	}
	added := make([]Added, len(users))
	for i, u := range users {
		var err error
		added[i], err = adder.user(u)
		fail("users", i, err)
	}
	for i, g := range groups {
		for _, member := range g.Members {
			fail("groups", i, adder.join(g.Name, member))
		}
	}
	for i, u := range users {
		if a.passwd.names[u.Name] == nil { // reported already
			continue
		}
		for _, g := range u.Groups {
			fail("users", i, adder.join(g, u.Name))
		}
	}
	return added, errors.Join(errs...)
}

// adder adds to lists.
type adder struct {
	*Accounts
	// uids and gids are not free because an element states them.
	uids, gids map[uint32]bool
	// wanted are the ids that users state, by their names.
	wanted map[string]*uint32
}

func (a *adder) reserve(users []User, groups []Group) {
	for _, u := range users {
		if u.UID != nil {
			a.uids[*u.UID], a.wanted[u.Name] = true, u.UID
		}
		if u.GID != nil {
			a.gids[*u.GID] = true
		}
	}
	for _, g := range groups {
		if g.GID != nil {
			a.gids[*g.GID] = true
		}
	}
}

// free returns the first id that no user has, if that counts, and no group.
func (a *adder) free(user, group bool) (uint32, error) {
	for id := uint32(firstID); id <= lastID; id++ {
		if user && (a.uids[id] || a.passwd.ids[id] != nil) || group && (a.gids[id] || a.Accounts.group.ids[id] != nil) {
			continue
		}
		return id, nil
	}
	return 0, fmt.Errorf("no id from %d to %d is free: state one", firstID, lastID)
}

// group adds a group.
func (a *adder) group(g Group) error {
	if r := a.Accounts.group.names[g.Name]; r != nil {
		if got, _ := r.id(2); g.GID != nil && got != *g.GID {
			return fmt.Errorf("the image has a group %q already, with the id %s", g.Name, r.field(2))
		}
		return nil
	}
	gid := g.GID
	if wanted := a.wanted[g.Name]; gid == nil && wanted != nil && a.Accounts.group.ids[*wanted] == nil {
		gid = wanted
	}
	if gid == nil {
		id, err := a.free(true, true)
		if err != nil {
			return err
		}
		gid = &id
	}
	return a.addGroup(g.Name, *gid)
}

// addGroup adds a group that is not there.
func (a *adder) addGroup(name string, gid uint32) error {
	if other := a.Accounts.group.ids[gid]; other != nil {
		return fmt.Errorf("the id %d is that of the group %q", gid, other.fields[0])
	}
	a.Accounts.group.add(name, "x", decimal(gid), "")
	if a.gshadow.file != nil && a.gshadow.names[name] == nil {
		a.gshadow.add(name, "!", "", "")
	}
	return nil
}

// user adds a user, or compares one who is there with what is stated.
func (a *adder) user(u User) (Added, error) {
	if r := a.passwd.names[u.Name]; r != nil {
		return a.existing(u, r)
	}
	gid, own, err := a.groupOf(u)
	if err != nil {
		return Added{}, err
	}
	uid, err := a.uidOf(u, own)
	if err != nil {
		return Added{}, err
	}
	if own {
		if gid == nil {
			gid = &uid
		}
		if err := a.addGroup(u.Name, *gid); err != nil {
			return Added{}, fmt.Errorf("%w: the user's own group cannot have it; state the user's group with gid or group", err)
		}
	}
	home, shell := u.Home, u.Shell
	if home == "" {
		home = "/home/" + u.Name
	}
	if shell == "" {
		shell = "/bin/sh"
	}
	a.passwd.add(u.Name, "x", decimal(uid), decimal(*gid), u.Comment, home, shell)
	if a.shadow.file != nil && a.shadow.names[u.Name] == nil {
		a.shadow.add(u.Name, "!", "", "", "", "", "", "", "")
	}
	return Added{uid, *gid, home, true}, nil
}

// groupOf returns the id of a user's group. own says that the user gets one of the
// same name; its id is the user's if gid is nil.
func (a *adder) groupOf(u User) (gid *uint32, own bool, err error) {
	switch {
	case u.Group != "":
		id, err := a.Group(u.Group)
		return &id, false, err
	case u.GID != nil && a.Accounts.group.ids[*u.GID] != nil:
		return u.GID, false, nil
	case u.GID != nil && a.Accounts.group.names[u.Name] != nil:
		return nil, false, fmt.Errorf("the image has no group with the id %d, and its group %q has another: add one with groups", *u.GID, u.Name)
	case u.GID == nil && a.Accounts.group.names[u.Name] != nil:
		id, err := a.Group(u.Name)
		return &id, false, err
	}
	return u.GID, true, nil
}

// uidOf returns the id of a new user.
func (a *adder) uidOf(u User, own bool) (uint32, error) {
	if u.UID == nil {
		return a.free(true, own && u.GID == nil)
	}
	if other := a.passwd.ids[*u.UID]; other != nil {
		return 0, fmt.Errorf("the id %d is that of the user %q", *u.UID, other.fields[0])
	}
	return *u.UID, nil
}

// existing compares a user who is there with what is stated.
func (a *adder) existing(u User, r *row) (Added, error) {
	uid, gid, err := a.User(u.Name)
	if err != nil {
		return Added{}, err
	}
	if u.Group != "" {
		id, err := a.Group(u.Group)
		if err != nil {
			return Added{}, err
		}
		u.GID = &id
	}
	for _, field := range []struct {
		name        string
		stated      bool
		want, there string
	}{
		{"uid", u.UID != nil, number(u.UID), decimal(uid)},
		{"gid", u.GID != nil, number(u.GID), decimal(gid)},
		{"comment", u.Comment != "", u.Comment, r.field(4)},
		{"home", u.Home != "", u.Home, r.field(5)},
		{"shell", u.Shell != "", u.Shell, r.field(6)},
	} {
		if field.stated && field.want != field.there {
			return Added{}, fmt.Errorf("the image has a user %q already, with the %s %q and not %q: leave %s out, or take another name", u.Name, field.name, field.there, field.want, field.name)
		}
	}
	return Added{uid, gid, r.field(5), false}, nil
}

// join makes a user a member of a group.
func (a *adder) join(group, user string) error {
	if a.passwd.names[user] == nil {
		return a.passwd.unknown("user", "users", user)
	}
	if !a.Accounts.group.join(group, user) {
		return a.Accounts.group.unknown("group", "groups", group)
	}
	a.gshadow.join(group, user)
	return nil
}

func decimal(id uint32) string { return strconv.FormatUint(uint64(id), 10) }

func number(id *uint32) string {
	if id == nil {
		return ""
	}
	return decimal(*id)
}
