//go:build amd64 || arm64

package fakeroot

import (
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox/userns/openat"
)

// The extended attributes that are access control lists (acl(5)). A layer has the modes
// that result from them, and not the lists.
const (
	aclAccess  = "system.posix_acl_access"
	aclDefault = "system.posix_acl_default"
)

func isACL(attr string) bool { return attr == aclAccess || attr == aclDefault }

// acl is an access control list, in the kernel's order: owner, users, group,
// groups, mask, others.
type acl []aclEntry

type aclEntry struct {
	Tag, Perm uint16
	ID        uint32
}

// The tags of entries (linux/posix_acl.h).
const (
	aclOwner  = 0x01
	aclUser   = 0x02
	aclGroup  = 0x04 // the file's group
	aclGroups = 0x08 // a named group
	aclMask   = 0x10
	aclOthers = 0x20
)

// aclVersion begins the attribute (linux/posix_acl_xattr.h); the entries follow, of eight
// bytes each.
const aclVersion = 2

// parseACL reads the attribute's value, which comes from a step. The list need not be
// valid.
func parseACL(value string) (acl, error) {
	switch {
	case len(value) < 4:
		return nil, unix.EINVAL
	case binary.LittleEndian.Uint32([]byte(value)) != aclVersion:
		return nil, unix.EOPNOTSUPP
	case len(value)%8 != 4:
		return nil, unix.EINVAL
	}
	list := make(acl, (len(value)-4)/8)
	for i := range list {
		e := []byte(value[4+8*i:])
		list[i] = aclEntry{binary.LittleEndian.Uint16(e), binary.LittleEndian.Uint16(e[2:]), binary.LittleEndian.Uint32(e[4:])}
		switch list[i].Tag {
		case aclOwner, aclGroup, aclMask, aclOthers:
			list[i].ID = noID
		case aclUser, aclGroups:
			if list[i].ID == noID {
				return nil, unix.EINVAL
			}
		default:
			return nil, unix.EINVAL
		}
	}
	return list, nil
}

// valid reports whether the entries are in order, and include a mask if they need one.
func (l acl) valid() bool {
	order := []uint16{aclOwner, aclUser, aclGroup, aclGroups, aclMask, aclOthers}
	seen := map[uint16]bool{}
	before := -1
	for _, e := range l {
		named := e.Tag == aclUser || e.Tag == aclGroups
		at := slices.Index(order, e.Tag)
		if at < before || at == before && !named || e.Perm > 7 {
			return false
		}
		before, seen[e.Tag] = at, true
	}
	named := seen[aclUser] || seen[aclGroups]
	return seen[aclOwner] && seen[aclGroup] && seen[aclOthers] && (seen[aclMask] || !named)
}

func (l acl) String() string {
	b := binary.LittleEndian.AppendUint32(nil, aclVersion)
	for _, e := range l {
		b = binary.LittleEndian.AppendUint16(b, e.Tag)
		b = binary.LittleEndian.AppendUint16(b, e.Perm)
		b = binary.LittleEndian.AppendUint32(b, e.ID)
	}
	return string(b)
}

// find returns the only entry with a tag, or nil.
func (l acl) find(tag uint16) *aclEntry {
	for i := range l {
		if l[i].Tag == tag {
			return &l[i]
		}
	}
	return nil
}

// class returns the entry that corresponds to a mode's group bits: the mask, or the group
// if there is no mask.
func (l acl) class() *aclEntry {
	if mask := l.find(aclMask); mask != nil {
		return mask
	}
	return l.find(aclGroup)
}

// mode returns the permissions that the list amounts to.
func (l acl) mode() uint32 {
	return uint32(l.find(aclOwner).Perm)<<6 | uint32(l.class().Perm)<<3 | uint32(l.find(aclOthers).Perm)
}

// plain reports whether a mode can express the list.
func (l acl) plain() bool { return len(l) == 3 }

// chmod returns the list after chmod(2).
func (l acl) chmod(mode uint32) acl {
	l = slices.Clone(l)
	l.find(aclOwner).Perm = uint16(mode >> 6 & 7)
	l.class().Perm = uint16(mode >> 3 & 7)
	l.find(aclOthers).Perm = uint16(mode & 7)
	return l
}

// create returns the list of a file that is made with a mode in a directory whose default
// list this is: it keeps only the permissions that the mode includes.
func (l acl) create(mode uint32) acl { return l.chmod(mode & (l.mode() | ^uint32(0o777))) }

// may reports whether a process that is not the owner may do something.
func (l acl) may(who *credentials, gid uint32, what uint32) bool {
	mask := uint32(7)
	if e := l.find(aclMask); e != nil {
		mask = uint32(e.Perm)
	}
	member := false
	for _, e := range l {
		switch {
		case e.Tag == aclUser && e.ID == who.uid.fs:
			return uint32(e.Perm)&mask&what == what
		case e.Tag == aclGroup && who.in(gid), e.Tag == aclGroups && who.in(e.ID):
			if member = true; uint32(e.Perm)&what == what {
				return mask&what == what
			}
		case e.Tag == aclOthers:
			return !member && uint32(e.Perm)&what == what
		}
	}
	return false
}

// acl returns a list among the attributes, or nil.
func (a xattrSet) acl(attr string) acl {
	value, ok := a.get(attr)
	if !ok {
		return nil
	}
	list, err := parseACL(value)
	if err != nil {
		return nil
	}
	return list
}

// setACL handles setxattr(2) of a list, and removexattr(2) with none.
func (e *Emulator) setACL(c *call, f *file, attr, value string) answer {
	who := e.identities.of(c.tid)
	var list acl
	if value != "" {
		var err error
		if list, err = parseACL(value); err != nil {
			return fails(err)
		}
	}
	switch {
	case f.kind() == unix.S_IFLNK:
		return fails(unix.EOPNOTSUPP)
	case attr == aclDefault && !f.dir() && len(list) > 0:
		return fails(unix.EACCES)
	case attr == aclDefault && !f.dir():
		return answer{}
	case !who.owns(f):
		return fails(unix.EPERM)
	case len(list) > 0 && !list.valid():
		return fails(unix.EINVAL)
	}
	rec := f.rec
	rec.xattrs = rec.xattrs.without(attr)
	if attr == aclAccess && len(list) > 0 {
		if !who.overrides() && !who.in(rec.gid) {
			rec.special &^= unix.S_ISGID
		}
		if err := unix.Chmod(openat.Path(f.fd), f.mode&unix.S_ISVTX|list.mode()); err != nil {
			return fails(err)
		}
	}
	if len(list) > 0 && (attr == aclDefault || !list.plain()) {
		rec.xattrs = rec.xattrs.with(attr, list.String())
	}
	return e.record(f, rec)
}
