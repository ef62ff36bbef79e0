package assemble

import (
	"strconv"

	"github.com/varve-image/varve/internal/problems"
	"github.com/varve-image/varve/spec"
	"github.com/varve-image/varve/tree"
)

// namedOwner is an owner by name, of what a field of the spec copies. Until the
// layer's users are known, the files have it as their Uname.
type namedOwner struct {
	field string
	spec.Owner
}

// nameOwner notes that entries have an owner by name.
func (b *builder) nameOwner(field string, entries []*tree.Entry, o spec.Owner) {
	b.owners = append(b.owners, namedOwner{field + ".owner", o})
	for _, e := range entries {
		e.Uname = o.String()
	}
}

// resolve gives the entries of the layer the owners that they have by name.
func (m *maker) resolve(owners []namedOwner) error {
	type ids struct{ uid, gid uint32 }
	known := map[string]ids{}
	var bad problems.List
	for _, o := range owners {
		uid, gid, err := m.lookUp(o.Owner)
		if err != nil {
			bad.Add(&SpecError{o.field, err})
		}
		known[o.String()] = ids{uid, gid}
	}
	if len(owners) > 0 {
		for _, e := range m.own {
			if to, ok := known[e.Uname]; ok && e.Uname != "" {
				e.UID, e.GID, e.Uname = to.uid, to.gid, ""
			}
		}
	}
	return bad.Err()
}

// lookUp returns the ids of an owner.
func (m *maker) lookUp(o spec.Owner) (uid, gid uint32, err error) {
	uid, gid = o.UID, o.GID
	if !o.Named() {
		return uid, gid, nil
	}
	accounts, err := m.accounts()
	if err != nil {
		return 0, 0, err
	}
	if o.User != "" {
		if uid, gid, err = accounts.User(o.User); err != nil {
			return 0, 0, err
		}
	}
	if o.Group == "" {
		return uid, gid, nil
	}
	if n, err := strconv.ParseUint(o.Group, 10, 32); err == nil {
		return uid, uint32(n), nil
	}
	gid, err = accounts.Group(o.Group)
	return uid, gid, err
}
