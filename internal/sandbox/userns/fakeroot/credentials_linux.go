//go:build amd64 || arm64

package fakeroot

import (
	"encoding/binary"
	"slices"
	"sort"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox/userns/procfs"
)

// credentials say who a process believes it is. The zero value is root.
type credentials struct {
	uid, gid ids
	groups   string // supplementary groups, in order, four bytes each
	// bare says that the process cannot do with files what root may: it lacks the
	// capabilities of CAP_FS_SET (linux/capability.h).
	bare bool
	// locks is the limit in which the credentials are stored, as the process sees it.
	locks lockLimit
}

// ids are the real, effective, saved and file system id.
type ids struct{ real, effective, saved, fs uint32 }

// any reports whether an id is the real, effective or saved one.
func (i *ids) any(id uint32) bool { return id == i.real || id == i.effective || id == i.saved }

// settle sets the saved and the file system id to the effective one.
func (i *ids) settle() { i.saved, i.fs = i.effective, i.effective }

const noID = ^uint32(0)

// root reports whether the process may do what root may, except with files.
func (c *credentials) root() bool { return c.uid.effective == 0 }

// overrides reports whether the process may do with files what root may.
func (c *credentials) overrides() bool { return !c.bare }

// settled returns the credentials of a program that is started.
func (c credentials) settled() credentials {
	c.uid.settle()
	c.gid.settle()
	c.bare = !c.root()
	return c
}

// keep drops and restores capabilities as user ids change (capabilities(7), "Effect of user
// ID changes on capabilities").
func (c *credentials) keep(old ids) {
	switch is := c.uid; {
	case !is.any(0), old.effective == 0 && is.effective != 0:
		c.bare = true
	case old.effective != 0 && is.effective == 0:
		c.bare = false
	}
}

// keepFS does so where only the file system id has changed.
func (c *credentials) keepFS(old ids) {
	switch is := c.uid; {
	case old.fs == 0 && is.fs != 0:
		c.bare = true
	case old.fs != 0 && is.fs == 0 && is.any(0):
		c.bare = false
	}
}

// in reports whether the process is in a group, as far as files are concerned.
func (c *credentials) in(gid uint32) bool {
	if gid == c.gid.fs {
		return true
	}
	n := len(c.groups) / 4
	at := sort.Search(n, func(i int) bool { return c.group(i) >= gid })
	return at < n && c.group(at) == gid
}

func (c *credentials) group(i int) uint32 {
	return binary.LittleEndian.Uint32([]byte(c.groups[4*i : 4*i+4]))
}

// owns reports whether the process may do what a file's owner may.
func (c *credentials) owns(f *file) bool { return c.overrides() || c.uid.fs == f.rec.uid }

// The bits of a mode for others.
const (
	mayRead  = 4
	mayWrite = 2
	mayEnter = 1
)

// may reports whether the process may do something with a file. It checks only the file,
// not the path to it.
func (c *credentials) may(f *file, what uint32) bool {
	bits := f.mode & 0o777
	switch list := f.rec.xattrs.acl(aclAccess); {
	case c.overrides():
		return true
	case c.uid.fs == f.rec.uid:
		bits >>= 6
	case list != nil && bits&0o070 != 0: // otherwise the kernel ignores it
		return list.may(c, f.rec.gid, what)
	case c.in(f.rec.gid):
		bits >>= 3
	}
	return bits&what == what
}

func decodeIDs(text string) []uint32 {
	all := make([]uint32, len(text)/4)
	for i := range all {
		all[i] = binary.LittleEndian.Uint32([]byte(text[4*i:]))
	}
	return all
}

// become answers a call that changes credentials.
func (e *Emulator) become(c *call, change func(*credentials) error) answer {
	cr := e.identities.of(c.tid)
	old := cr.uid
	if err := change(&cr); err != nil {
		return fails(err)
	}
	cr.keep(old)
	if !cr.overrides() {
		e.noteInherited(c, &cr)
	}
	return result(e.identities.set(c.tid, cr))
}

// noteInherited notes which files a process that was root still has open for writing.
func (e *Emulator) noteInherited(c *call, who *credentials) {
	fds, _ := procfs.Numbers(c.proc("fd")) // empty if the caller has ended
	for _, fd := range fds {
		f, err := c.openAt(fd)
		if err != nil {
			continue
		}
		if by := who.writer(f.rec.gid); f.ours && f.regular() && f.rec.written < by && e.isWritten(f) {
			f.rec.written = by
			_ = e.records.set(f.fd, f.key, f.rec) // without room, no file can be set-user-id either
		}
		f.close()
	}
}

// setID does setuid(2) or setgid(2).
func (i *ids) setID(id uint32, root bool) error {
	switch {
	case id == noID:
		return unix.EINVAL
	case root:
		*i = ids{id, id, id, id}
	case id == i.real || id == i.saved:
		i.effective, i.fs = id, id
	default:
		return unix.EPERM
	}
	return nil
}

// setRE does setreuid(2) or setregid(2).
func (i *ids) setRE(re, eff uint32, root bool) error {
	old := *i
	if re != noID {
		if !root && re != old.real && re != old.effective {
			return unix.EPERM
		}
		i.real = re
	}
	if eff != noID {
		if !root && eff != old.real && eff != old.effective && eff != old.saved {
			*i = old
			return unix.EPERM
		}
		i.effective = eff
	}
	if re != noID || eff != noID && eff != old.real {
		i.saved = i.effective
	}
	i.fs = i.effective
	return nil
}

// setRES does setresuid(2) or setresgid(2). If nothing changes, the file system id stays as
// it is, as in Linux since 6.4.
func (i *ids) setRES(re, eff, saved uint32, root bool) error {
	same := func(id, is uint32) bool { return id == noID || id == is }
	if same(re, i.real) && same(saved, i.saved) && same(eff, i.effective) && same(eff, i.fs) {
		return nil
	}
	next := *i
	for _, f := range []struct {
		to *uint32
		id uint32
	}{{&next.real, re}, {&next.effective, eff}, {&next.saved, saved}} {
		if f.id == noID {
			continue
		}
		if !root && !i.any(f.id) {
			return unix.EPERM
		}
		*f.to = f.id
	}
	next.fs = next.effective
	*i = next
	return nil
}

// setFS answers setfsuid(2) or setfsgid(2), which return the previous id.
func (e *Emulator) setFS(c *call, which func(*credentials) *ids) answer {
	cr := e.identities.of(c.tid)
	i, uids := which(&cr), cr.uid
	old, id := i.fs, c.uint32(0)
	if id != noID && (cr.root() || i.any(id) || id == i.fs) {
		i.fs = id
		cr.keepFS(uids)
		if !cr.overrides() {
			e.noteInherited(c, &cr)
		}
		if err := e.identities.set(c.tid, cr); err != nil {
			return fails(err)
		}
	}
	return answer{value: int64(old)}
}

// setGroups answers setgroups(2).
func (e *Emulator) setGroups(c *call) answer {
	n := c.uint32(0)
	if n > 65536 {
		return fails(unix.EINVAL)
	}
	list := make([]byte, 4*n)
	if n > 0 {
		if got, err := c.read(uintptr(c.args[1]), list); err != nil || got != len(list) {
			return fails(unix.EFAULT)
		}
	}
	groups := decodeIDs(string(list))
	if slices.Contains(groups, noID) {
		return fails(unix.EINVAL)
	}
	slices.Sort(groups)
	for i, id := range groups {
		binary.LittleEndian.PutUint32(list[4*i:], id)
	}
	return e.become(c, func(cr *credentials) error {
		if !cr.root() {
			return unix.EPERM
		}
		cr.groups = string(list)
		return nil
	})
}

// getGroups answers getgroups(2).
func (e *Emulator) getGroups(c *call) answer {
	cr := e.identities.of(c.tid)
	n := len(cr.groups) / 4
	if size := c.int(0); size != 0 {
		if size < n {
			return fails(unix.EINVAL)
		}
		if err := c.write(1, []byte(cr.groups)); err != nil {
			return fails(unix.EFAULT)
		}
	}
	return answer{value: int64(n)}
}

// getRES answers getresuid(2) or getresgid(2).
func (e *Emulator) getRES(c *call, i ids) answer {
	for n, id := range []uint32{i.real, i.effective, i.saved} {
		if err := c.write(n, bytesOf(&id)); err != nil {
			return fails(unix.EFAULT)
		}
	}
	return answer{}
}

// credentialCalls adds the calls that report and change who a process is.
func (e *Emulator) credentialCalls() {
	get := func(number uint32, which func(credentials) uint32) {
		e.calls[number] = func(c *call) answer { return answer{value: int64(which(e.identities.of(c.tid)))} }
	}
	get(unix.SYS_GETUID, func(c credentials) uint32 { return c.uid.real })
	get(unix.SYS_GETEUID, func(c credentials) uint32 { return c.uid.effective })
	get(unix.SYS_GETGID, func(c credentials) uint32 { return c.gid.real })
	get(unix.SYS_GETEGID, func(c credentials) uint32 { return c.gid.effective })
	e.calls[unix.SYS_GETRESUID] = func(c *call) answer { return e.getRES(c, e.identities.of(c.tid).uid) }
	e.calls[unix.SYS_GETRESGID] = func(c *call) answer { return e.getRES(c, e.identities.of(c.tid).gid) }
	e.calls[unix.SYS_GETGROUPS] = e.getGroups
	e.calls[unix.SYS_SETGROUPS] = e.setGroups

	uid := func(cr *credentials) *ids { return &cr.uid }
	gid := func(cr *credentials) *ids { return &cr.gid }
	for _, kind := range []struct {
		set, setRE, setRES, setFS uint32
		which                     func(*credentials) *ids
	}{
		{unix.SYS_SETUID, unix.SYS_SETREUID, unix.SYS_SETRESUID, unix.SYS_SETFSUID, uid},
		{unix.SYS_SETGID, unix.SYS_SETREGID, unix.SYS_SETRESGID, unix.SYS_SETFSGID, gid},
	} {
		e.calls[kind.set] = func(c *call) answer {
			return e.become(c, func(cr *credentials) error { return kind.which(cr).setID(c.uint32(0), cr.root()) })
		}
		e.calls[kind.setRE] = func(c *call) answer {
			return e.become(c, func(cr *credentials) error {
				return kind.which(cr).setRE(c.uint32(0), c.uint32(1), cr.root())
			})
		}
		e.calls[kind.setRES] = func(c *call) answer {
			return e.become(c, func(cr *credentials) error {
				return kind.which(cr).setRES(c.uint32(0), c.uint32(1), c.uint32(2), cr.root())
			})
		}
		e.calls[kind.setFS] = func(c *call) answer { return e.setFS(c, kind.which) }
	}
}
