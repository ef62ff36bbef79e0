//go:build amd64 || arm64

package userns

import (
	"encoding/binary"
	"slices"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// credentials are who a process takes itself for. The zero value is root.
type credentials struct {
	uid, gid ids
	groups   string // supplementary groups, four bytes each
}

// ids are real, effective, saved and file system id.
type ids struct{ real, effective, saved, fs uint32 }

const noID = ^uint32(0)

// root tells whether the process may do what root may.
func (c *credentials) root() bool { return c.uid.effective == 0 }

// in tells whether the process is in a group.
func (c *credentials) in(gid uint32) bool {
	if gid == c.gid.fs || gid == c.gid.effective {
		return true
	}
	return slices.Contains(decodeIDs(c.groups), gid)
}

// The bits of a mode for others.
const (
	mayRead  = 4
	mayWrite = 2
	mayEnter = 1
)

// may tells whether the process may do something with a file. It knows of the
// file alone, not of what leads to it.
func (c *credentials) may(f *file, what uint32) bool {
	bits := f.mode
	switch {
	case c.root():
		return true
	case c.uid.fs == f.rec.uid:
		bits >>= 6
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

// identityTable knows the credentials of all processes. What a process has is
// written on it as a limit that the kernel does not use any more: so it is
// handed on by fork and exec, and gone with the process.
type identityTable struct {
	mu    sync.Mutex
	known map[credentials]uint64
	list  []credentials
}

// tagLimit is that limit, RLIMIT_LOCKS of Linux 2.4.
const tagLimit = 10

// maxIdentities bounds the table.
const maxIdentities = 1 << 16

// of returns the credentials of a process.
func (t *identityTable) of(pid int) credentials {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.list) == 0 {
		return credentials{}
	}
	var limit unix.Rlimit
	if err := prlimit(pid, nil, &limit); err != nil || limit.Cur >= uint64(len(t.list)) {
		return credentials{}
	}
	return t.list[limit.Cur]
}

// set gives a process credentials.
func (t *identityTable) set(pid int, c credentials) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known == nil {
		t.known = map[credentials]uint64{}
	}
	tag, ok := t.known[c]
	if !ok {
		if len(t.list) == maxIdentities {
			return unix.EAGAIN
		}
		tag = uint64(len(t.list))
		t.known[c], t.list = tag, append(t.list, c)
	}
	return prlimit(pid, &unix.Rlimit{Cur: tag, Max: unix.RLIM_INFINITY}, nil)
}

// changed tells whether any process has been anything but root.
func (t *identityTable) changed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.list) > 0
}

func prlimit(pid int, set, get *unix.Rlimit) error {
	_, _, e := unix.RawSyscall6(unix.SYS_PRLIMIT64, uintptr(pid), tagLimit, uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(get)), 0, 0)
	if e != 0 {
		return e
	}
	return nil
}

// become makes a call that changes credentials.
func (e *emulator) become(c *call, change func(*credentials) error) answer {
	cr := e.identities.of(c.tid)
	if err := change(&cr); err != nil {
		return fails(err)
	}
	return result(e.identities.set(c.tid, cr))
}

// setID is setuid(2) or setgid(2).
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

// setRE is setreuid(2) or setregid(2).
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

// setRES is setresuid(2) or setresgid(2).
func (i *ids) setRES(re, eff, saved uint32, root bool) error {
	next := *i
	for _, f := range []struct {
		to *uint32
		id uint32
	}{{&next.real, re}, {&next.effective, eff}, {&next.saved, saved}} {
		if f.id == noID {
			continue
		}
		if !root && f.id != i.real && f.id != i.effective && f.id != i.saved {
			return unix.EPERM
		}
		*f.to = f.id
	}
	next.fs = next.effective
	*i = next
	return nil
}

// setFS is setfsuid(2) or setfsgid(2), which return what was before.
func (e *emulator) setFS(c *call, which func(*credentials) *ids) answer {
	cr := e.identities.of(c.tid)
	i := which(&cr)
	old, id := i.fs, c.uint32(0)
	if id != noID && (cr.root() || id == i.real || id == i.effective || id == i.saved || id == i.fs) {
		i.fs = id
		if err := e.identities.set(c.tid, cr); err != nil {
			return fails(err)
		}
	}
	return answer{value: int64(old)}
}

// setGroups is setgroups(2).
func (e *emulator) setGroups(c *call) answer {
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
	return e.become(c, func(cr *credentials) error {
		if !cr.root() {
			return unix.EPERM
		}
		cr.groups = string(list)
		return nil
	})
}

// getGroups is getgroups(2).
func (e *emulator) getGroups(c *call) answer {
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

// getRES is getresuid(2) or getresgid(2).
func (e *emulator) getRES(c *call, i ids) answer {
	for n, id := range []uint32{i.real, i.effective, i.saved} {
		if err := c.write(n, bytesOf(&id)); err != nil {
			return fails(unix.EFAULT)
		}
	}
	return answer{}
}
