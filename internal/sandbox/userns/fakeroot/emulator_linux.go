//go:build amd64 || arm64

package fakeroot

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox/userns/openat"
)

// Emulator answers calls of a step's processes.
type Emulator struct {
	mu         sync.Mutex // held while a call is answered
	records    *Records
	identities identityTable
	// mounts are the ids of the mounts whose files are the step's: the tree, and the
	// sandbox's directories for temporary files.
	mounts map[uint64]bool
	// proc is the mount of /proc.
	proc uint64
	// fakeRoot says that the step is root. Otherwise it has only special modes and
	// attributes, and all files are its own.
	fakeRoot bool
	// distinct says that files of the tree can be distinguished even if we do not see them
	// go.
	distinct bool
	calls    map[uint32]answerer
	// making are the makers of files in calls that traced threads are in.
	making map[int]*maker
	// chrooted says that a process may have a different root directory from ours.
	chrooted atomic.Bool
	links    knownLinks
}

// Options describe what an emulator is for.
type Options struct {
	// FakeRoot says that the step is root.
	FakeRoot bool
	// TreeDir is where the step has its tree, and Tree the same directory, open, with
	// nothing mounted on it.
	TreeDir string
	Tree    int
	// Temporary are the other directories whose files are the step's; each is a mount of
	// its own.
	Temporary []string
}

// New makes an emulator for a step whose tree has been unpacked, once everything that it is
// to see is mounted.
func New(records *Records, opts Options) (*Emulator, error) {
	e := &Emulator{records: records, fakeRoot: opts.FakeRoot, mounts: map[uint64]bool{}, calls: map[uint32]answerer{},
		making: map[int]*maker{}, links: records.links}
	if err := e.findMounts(opts); err != nil {
		return nil, err
	}
	e.allCalls()
	records.living = (&living{tree: opts.Tree, temporary: opts.Temporary}).each
	return e, nil
}

// findMounts finds out which mounts have the step's files, and which is /proc.
func (e *Emulator) findMounts(opts Options) error {
	for _, dir := range append(slices.Clone(opts.Temporary), opts.TreeDir) {
		fd, err := openat.Dir(unix.AT_FDCWD, dir)
		if err != nil {
			return &os.PathError{Op: "open", Path: dir, Err: err}
		}
		err = e.addMount(fd)
		unix.Close(fd)
		if err != nil {
			return fmt.Errorf("look at %q: %w", dir, err)
		}
	}
	var proc unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, "/proc", 0, unix.STATX_MNT_ID, &proc); err != nil {
		return &os.PathError{Op: "stat", Path: "/proc", Err: err}
	}
	e.proc = proc.Mnt_id
	return nil
}

// allCalls registers the handlers of all calls to be answered.
func (e *Emulator) allCalls() {
	e.modeCalls()
	e.ownerCalls()
	e.statCalls()
	e.attributeCalls()
	e.creatingCalls()
	e.openingCalls()
	e.guardCalls()
	if e.fakeRoot {
		e.removingCalls()
		e.credentialCalls()
		e.permissionCalls()
		e.signalCalls()
		e.tagCalls()
	}
	e.namingCalls()
}

// addMount adds the mount of an open directory. The last one is the tree's.
func (e *Emulator) addMount(fd int) error {
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS|unix.STATX_MNT_ID, &st); err != nil {
		return err
	}
	e.mounts[st.Mnt_id] = true
	e.distinct = e.records.handled(fd, keyOf(&st).dev)
	return nil
}

// shown returns what a step is to see of a record, for a file that has an owner on disk.
// Without fake root all files are the step's own.
func (e *Emulator) shown(rec record, uid, gid uint32) record {
	if !e.fakeRoot {
		rec.uid, rec.gid, rec.kind = uid, gid, 0
	}
	return rec
}

// do answers a call.
func (e *Emulator) do(c *call) answer {
	e.mu.Lock()
	defer e.mu.Unlock()
	c.e = e
	e.records.Written()
	if handle := e.calls[c.number]; handle != nil {
		return handle(c)
	}
	return pass
}

// at makes a handler of a call with a directory and a path.
func at(dirfd, name int, f func(c *call, dirfd int, name string) answer) answerer {
	return func(c *call) answer {
		dir := unix.AT_FDCWD
		if dirfd >= 0 {
			dir = c.fd(dirfd)
		}
		text := ""
		if c.args[name] != 0 {
			var err error
			if text, err = c.text(name); err != nil {
				return pass // the kernel fails in the same way
			}
		}
		return f(c, dir, text)
	}
}

// here says that a call has no directory argument.
const here = -1
