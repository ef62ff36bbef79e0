package assemble

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"sync"

	"github.com/varve-image/varve/internal/problems"
	"github.com/varve-image/varve/internal/rootfs"
	"github.com/varve-image/varve/spec"
	"github.com/varve-image/varve/tree"
)

// symlinks returns the tree of a layer's symlinks.
func symlinks(field string, links []spec.KeyValue) ([]*tree.Entry, error) {
	if len(links) == 0 {
		return nil, nil
	}
	entries := make([]*tree.Entry, len(links))
	for i, l := range links {
		entries[i] = tree.NewSymlink(strings.TrimPrefix(l.Key, "/"), l.Value)
		entries[i].Source = field
	}
	all, err := tree.Complete(entries)
	if err != nil {
		return nil, &SpecError{field, err}
	}
	return all, nil
}

// layerFiles adds what a layer has besides copies to its tree: users and their homes,
// then directories. Before that it gives the copies the owners that they have by
// name. within is the layer's field, with a dot, or empty for the top layer.
func (b *builder) layerFiles(ctx context.Context, below stack, within string, own []*tree.Entry, files spec.LayerFiles) ([]*tree.Entry, stack, error) {
	owners := b.owners
	b.owners = nil
	if len(files.Users)+len(files.Groups)+len(files.Directories)+len(owners) == 0 {
		return own, below, nil
	}
	m, err := b.makeFiles(ctx, below, own)
	if err != nil {
		return nil, below, err
	}
	if err := m.users(within, files); err != nil {
		return nil, below, err
	}
	var bad problems.List
	bad.Add(m.resolve(owners))
	for i, d := range files.Directories {
		bad.Add(specError(fmt.Sprintf("%sdirectories[%d]", within, i), m.directory(d)))
	}
	if err := bad.Err(); err != nil {
		return nil, below, err
	}
	return m.done(ctx)
}

// makeFiles begins to add files to a layer's tree.
func (b *builder) makeFiles(ctx context.Context, below stack, own []*tree.Entry) (*maker, error) {
	_, on, err := below.put(ctx, own, tree.ConflictLast)
	if err != nil {
		return nil, err
	}
	store := strings.TrimPrefix(b.spec.StoreDir, "/")
	return &maker{
		below: below, own: own, view: on.entries, made: map[string]*tree.Entry{},
		accounts: sync.OnceValues(func() (*rootfs.Accounts, error) {
			a, err := rootfs.ReadAccounts(rootfs.Lower{Entries: on.entries, Store: store})
			return a, presetError(err)
		}),
	}, nil
}

// maker adds files to the tree own of a layer.
type maker struct {
	below stack
	own   []*tree.Entry
	// view is what the image with the layer shows; made is what is added to that, by
	// its path.
	view []*tree.Entry
	made map[string]*tree.Entry
	// accounts reads the image's users and groups, once.
	accounts func() (*rootfs.Accounts, error)
}

// users adds users and groups to the image's lists, and makes homes.
func (m *maker) users(within string, files spec.LayerFiles) error {
	if len(files.Users)+len(files.Groups) == 0 {
		return nil
	}
	accounts, err := m.accounts()
	if err != nil {
		return specError(within+"users", err)
	}
	users, groups := make([]rootfs.User, len(files.Users)), make([]rootfs.Group, len(files.Groups))
	for i, u := range files.Users {
		users[i] = rootfs.User{Name: u.Name, UID: u.UID, GID: u.GID, Group: u.Group, Groups: u.Groups, Comment: u.Comment, Home: u.Home, Shell: u.Shell}
	}
	for i, g := range files.Groups {
		groups[i] = rootfs.Group(g)
	}
	added, err := accounts.Add(users, groups)
	if err != nil {
		return accountErrors(within, err)
	}
	for _, e := range accounts.Changed() {
		e.Source = within + "users"
		m.made[e.Path] = e
	}
	var bad problems.List
	for i, a := range added {
		create := files.Users[i].CreateHome
		if create == nil && !a.New || create != nil && !*create {
			continue
		}
		bad.Add(specError(fmt.Sprintf("%susers[%d].home", within, i), m.home(a)))
	}
	return bad.Err()
}

// accountErrors blames the elements of the lists of users and groups.
func accountErrors(within string, err error) error {
	all, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return err
	}
	var bad problems.List
	for _, err := range all.Unwrap() {
		var account *rootfs.AccountError
		if errors.As(err, &account) {
			err = &SpecError{within + account.Field, account.Err}
		}
		bad.Add(err)
	}
	return bad.Err()
}

// home makes the home of a user, unless something is there.
func (m *maker) home(a rootfs.Added) error {
	at, there, err := m.reach(a.Home)
	if err != nil || there != nil && (!there.Implied || m.below.find(at) != nil) {
		return err
	}
	m.make(at, 0o755, a.UID, a.GID)
	return nil
}

// directory makes a directory, or gives the one that is there what is stated.
func (m *maker) directory(d spec.Directory) error {
	at, there, err := m.reach(d.Path)
	if err != nil {
		return err
	}
	if there == nil {
		there = tree.NewImpliedDir(at)
	}
	if there.Type != tree.Dir {
		return fmt.Errorf("the image has a %s at %q", there.Type, d.Path)
	}
	mode, uid, gid := there.Mode, there.UID, there.GID
	if d.Mode != nil {
		mode = *d.Mode
	}
	if d.Owner != nil {
		if uid, gid, err = m.lookUp(*d.Owner); err != nil {
			return err
		}
	}
	if there.Implied || mode != there.Mode || uid != there.UID || gid != there.GID {
		m.make(at, mode, uid, gid)
	}
	return nil
}

// reach returns where a path leads, and what is there; nil for nothing.
func (m *maker) reach(name string) (string, *tree.Entry, error) {
	at, there, err := tree.Reach(m.view, name)
	if err != nil {
		return "", nil, err
	}
	if strings.Contains("/"+at, "/"+tree.WhiteoutPrefix) {
		return "", nil, fmt.Errorf("%q: a name that begins with %s removes another one in a layer", at, tree.WhiteoutPrefix)
	}
	for dir := at; dir != "."; dir = path.Dir(dir) {
		if e := m.made[dir]; e != nil && (dir == at || e.Type != tree.Dir) {
			return at, e, nil
		}
	}
	return at, there, nil
}

// make adds a directory. One that is there keeps its extended attributes.
func (m *maker) make(at string, mode, uid, gid uint32) {
	dir := tree.NewDir(at, mode)
	if there := tree.Find(m.view, at); there != nil && there.Type == tree.Dir {
		dir.Xattrs = there.Xattrs
	}
	dir.UID, dir.GID, dir.Source = uid, gid, "directories"
	m.made[at] = dir
}

// done returns the tree with what was added, and the stack that it goes on.
func (m *maker) done(ctx context.Context) ([]*tree.Entry, stack, error) {
	if len(m.made) == 0 {
		return m.own, m.below, nil
	}
	var made []*tree.Entry
	for _, e := range m.made {
		made = append(made, e)
	}
	made, err := tree.Complete(made)
	if err != nil {
		return nil, m.below, err
	}
	own, err := tree.Merge(ctx, tree.MergeOptions{Conflicts: tree.ConflictLast}, m.own, made)
	return own, m.below.replaced(made), err
}
