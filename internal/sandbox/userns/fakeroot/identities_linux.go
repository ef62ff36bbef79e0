//go:build amd64 || arm64

package fakeroot

import (
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/internal/sandbox/userns/procfs"
)

// identityTable knows the credentials of all processes. Each process is tagged by a limit
// that the kernel no longer uses: so the tag is inherited by fork and exec, and goes with
// the process.
type identityTable struct {
	mu    sync.Mutex
	known map[credentials]tag
	slots []slot
	free  []int // slots without credentials
	bytes int   // of all groups
}

// tag is the mark of a process: the number of a slot, and how often the slot has been
// reused.
type tag struct{ slot, generation uint32 }

func (t tag) limit() uint64 { return uint64(t.generation)<<32 | uint64(t.slot) }

type slot struct {
	credentials
	generation uint32
	used       bool
}

// tagLimit is that limit, RLIMIT_LOCKS of Linux 2.4.
const tagLimit = 10

// The limits of the table, in slots and in bytes of groups.
const (
	maxIdentities = 1 << 16
	maxGroupBytes = 16 << 20
)

// nobody is the identity of a process whose tag belongs to no slot.
var nobody = credentials{
	uid: ids{sandbox.OverflowID, sandbox.OverflowID, sandbox.OverflowID, sandbox.OverflowID}, gid: ids{sandbox.OverflowID, sandbox.OverflowID, sandbox.OverflowID, sandbox.OverflowID}, bare: true,
}

// of returns the credentials of a process.
func (t *identityTable) of(pid int) credentials {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.slots) == 0 {
		return credentials{}
	}
	got, tagged := tagOf(pid)
	switch {
	case !tagged:
		return credentials{}
	case int(got.slot) < len(t.slots) && t.slots[got.slot].used && t.slots[got.slot].generation == got.generation:
		return t.slots[got.slot].credentials
	}
	return nobody
}

// tagOf returns the tag of a process. At first it has none.
func tagOf(pid int) (got tag, tagged bool) {
	var limit unix.Rlimit
	if err := prlimit(pid, nil, &limit); err != nil || limit.Cur == unix.RLIM_INFINITY {
		return tag{}, false
	}
	return tag{uint32(limit.Cur), uint32(limit.Cur >> 32)}, true
}

// set gives a process credentials.
func (t *identityTable) set(pid int, c credentials) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	to, ok := t.known[c]
	if !ok {
		var err error
		if to, err = t.add(c); err != nil {
			return err
		}
	}
	return prlimit(pid, &unix.Rlimit{Cur: to.limit(), Max: unix.RLIM_INFINITY}, nil)
}

// add makes a slot for credentials.
func (t *identityTable) add(c credentials) (tag, error) {
	full := func() bool {
		return len(t.free) == 0 && len(t.slots) == maxIdentities || t.bytes+len(c.groups) > maxGroupBytes
	}
	if full() {
		t.sweep()
		if full() {
			return tag{}, unix.ENOMEM
		}
	}
	if t.known == nil {
		t.known = map[credentials]tag{}
	}
	if len(t.free) == 0 {
		t.free, t.slots = append(t.free, len(t.slots)), append(t.slots, slot{})
	}
	at := t.free[len(t.free)-1]
	t.free = t.free[:len(t.free)-1]
	s := &t.slots[at]
	s.credentials, s.used = c, true
	s.generation = (s.generation + 1) & (1<<31 - 1) // a tag is never infinity
	t.bytes += len(c.groups)
	to := tag{uint32(at), s.generation}
	t.known[c] = to
	return to, nil
}

// sweep frees the slots whose tag no process has.
func (t *identityTable) sweep() {
	held := map[tag]bool{}
	// A process that is started meanwhile, and whose parent ends, is in the second list.
	for range 2 {
		pids, err := procfs.Processes()
		if err != nil {
			return // no slot is known to be free
		}
		for _, pid := range pids {
			if got, tagged := tagOf(pid); tagged {
				held[got] = true
			}
		}
	}
	for c, to := range t.known {
		if held[to] {
			continue
		}
		delete(t.known, c)
		t.bytes -= len(c.groups)
		t.slots[to.slot] = slot{generation: to.generation}
		t.free = append(t.free, int(to.slot))
	}
}

// changed reports whether any process has been anything but root.
func (t *identityTable) changed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.slots) > 0
}

func prlimit(pid int, set, get *unix.Rlimit) error {
	_, _, e := unix.RawSyscall6(unix.SYS_PRLIMIT64, uintptr(pid), tagLimit, uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(get)), 0, 0)
	if e != 0 {
		return e
	}
	return nil
}
