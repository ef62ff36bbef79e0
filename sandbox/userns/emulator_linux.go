//go:build amd64 || arm64

package userns

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// emulator lets a step that has a single id change owners, special modes,
// devices, capabilities and who it is: calls that would fail, or that would tell
// what is on disk, are answered from records. All others are the kernel's.
//
// It is no boundary. What a step can do by racing against it is to have other
// owners recorded for its own files than it asked for.
//
// A process that is not root by its credentials still has root's access to files.
type emulator struct {
	mu         sync.Mutex // held while a call is answered
	records    *records
	identities identityTable
	// mount is the number of the tree's mount: files elsewhere are not looked at.
	mount uint64
	scope scope
	calls map[uint32]func(*call) answer
	// making are those who make a file by a call that a traced thread is in.
	making map[int]*maker
	// chrooted says that a process may have another root directory than we have.
	chrooted atomic.Bool
}

// scope is what an emulator is for.
type scope int

const (
	nothing scope = iota
	// onlyDevices is to make devices, which nobody but the machine's root can do.
	onlyDevices
	// onlyFlags is special modes and attributes, where a filter refuses them to a step
	// without fake root too.
	onlyFlags
	everything
)

// newEmulator makes an emulator for the tree at treeDir.
func newEmulator(records *records, treeDir string, scope scope) (*emulator, error) {
	e := &emulator{records: records, scope: scope, calls: map[uint32]func(*call) answer{}, making: map[int]*maker{}}
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, treeDir, 0, unix.STATX_MNT_ID, &st); err != nil {
		return nil, err
	}
	e.mount = st.Mnt_id
	e.calls[unix.SYS_CHROOT] = func(*call) answer {
		e.chrooted.Store(true)
		return pass
	}
	if scope == onlyDevices {
		e.deviceCalls()
		return e, nil
	}
	e.modeCalls()
	e.statCalls()
	e.attributeCalls()
	e.mkdirCalls()
	e.removingCalls()
	if scope == everything {
		e.ownerCalls()
		e.creatingCalls()
		e.credentialCalls()
	}
	return e, nil
}

// shown is what a step is to see of a record, for a file that has an owner on
// disk. Without fake root all files are the step's own.
func (e *emulator) shown(rec record, uid, gid uint32) record {
	if e.scope != everything {
		rec.uid, rec.gid, rec.kind = uid, gid, 0
	}
	return rec
}

// do answers a call.
func (e *emulator) do(c *call) answer {
	e.mu.Lock()
	defer e.mu.Unlock()
	c.e = e
	if handle := e.calls[c.number]; handle != nil {
		return handle(c)
	}
	return pass
}

// at makes a handler of a call with a directory and a path.
func at(dirfd, name int, f func(c *call, dirfd int, name string) answer) func(*call) answer {
	return func(c *call) answer {
		dir := unix.AT_FDCWD
		if dirfd >= 0 {
			dir = c.fd(dirfd)
		}
		text := ""
		if c.args[name] != 0 {
			var err error
			if text, err = c.text(name); err != nil {
				return pass // which fails in the same way
			}
		}
		return f(c, dir, text)
	}
}

// here says that a call has no directory argument.
const here = -1

func (e *emulator) credentialCalls() {
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
