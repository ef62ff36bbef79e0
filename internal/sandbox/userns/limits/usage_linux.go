//go:build amd64 || arm64

package limits

import (
	"fmt"
	"math"
	"os"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox/userns/openat"
	"github.com/varve-image/varve/internal/sandbox/userns/worktree"
)

// usage counts what all processes but this one use. Whatever cannot be looked at is an
// error, unless it has gone.
type usage struct {
	// tree is the directory of the tree, and was what it contained at the beginning.
	tree int
	was  *worktree.Original
	dev  uint64 // the tree's
	// tmpfs maps devices to the directories of file systems in memory that are the
	// sandbox's own.
	tmpfs map[uint64]int
	proc  uint64 // the device of /proc
	// terminals is the directory of terminals.
	terminals int
	// limits are the hard limits of this process.
	limits map[int]uint64
	// filters is how many filters of system calls each thread has anyway, and maps how many
	// mappings a process may have.
	filters, maps int64
	network       network
	// locks is how many file locks there were before.
	locks int64
	// longestInfo is the longest text about an open file that the kernel had, in bytes.
	longestInfo int64
	// shm is the device of shared memory.
	shm                                     uint64
	memoryGrowth, privateGrowth, diskGrowth growth
}

// newUsage opens what is looked at, before the step can change it.
func newUsage(opts Options) (u *usage, err error) {
	u = &usage{tree: opts.Tree.Dir, was: opts.Tree.Was, tmpfs: map[uint64]int{}}
	var st unix.Stat_t
	if err := unix.Fstat(u.tree, &st); err != nil {
		return nil, err
	}
	u.dev = st.Dev
	if err := unix.Stat("/proc", &st); err != nil {
		return nil, pathError("stat", "/proc", err)
	}
	u.proc = st.Dev
	for _, name := range opts.Temporary {
		dir, err := openat.Dir(unix.AT_FDCWD, name)
		if err == nil {
			err = unix.Fstat(dir, &st)
		}
		if err != nil {
			return nil, pathError("open", name, err)
		}
		u.tmpfs[st.Dev] = dir
	}
	if u.terminals, err = openat.Dir(unix.AT_FDCWD, "/dev/pts"); err != nil {
		return nil, pathError("open", "/dev/pts", err)
	}
	if u.shm, err = shmDevice(); err != nil {
		return nil, fmt.Errorf("look at shared memory: %w", err)
	}
	if _, err := u.hiddenDisk(0, 0); err != nil { // notes the starting values
		return nil, err
	}
	if u.limits, err = hardLimits(); err != nil || opts.Limits.Memory == 0 {
		return u, err
	}
	u.network.own = opts.OwnNetwork
	return u, u.beginMemory()
}

// beginMemory notes what there is before the step.
func (u *usage) beginMemory() error {
	own, err := statusOf("/proc/self")
	if err != nil {
		return err
	}
	u.filters = own.filters + 1 // plus the step's own
	if u.maps, err = readNumber("/proc/sys/vm/max_map_count"); err != nil {
		return err
	}
	if u.locks, err = countLines("/proc/locks", math.MaxInt64); err != nil {
		return err
	}
	shared, private, err := machineMemory()
	if err != nil {
		return err
	}
	u.memoryGrowth.of(shared, 0)
	u.privateGrowth.of(private, 0)
	return u.network.begin()
}

// see makes sure that this process is able to look.
func (u *usage) see() error {
	if err := raiseLimits(); err != nil {
		return err
	}
	now, err := hardLimits()
	if err != nil {
		return err
	}
	for which, value := range u.limits {
		if now[which] < value {
			return fmt.Errorf("a limit of the sandbox's first process was lowered (number %d, to %d)", which, now[which])
		}
	}
	return nil
}

// memoryUse adds up memory, in bytes.
type memoryUse struct {
	// private and shared are the processes' memory, files what files in memory take: shared
	// memory may include mapped files.
	private, shared, files int64
	// kernel is what the kernel keeps for them.
	kernel    int64
	processes int64
	limit     int64
	// ended says that processes ended before they could be looked at: others may have what
	// they had.
	ended bool
	// mayHave is the most private memory that they may have, judging by the growth on the
	// machine.
	mayHave int64
}

func (m *memoryUse) total() int64 { return m.kernel + m.private + max(m.shared, m.files) }

func (m *memoryUse) over() bool { return m.total() > m.limit }

// surelyOver reports whether memory is over the limit, however exactly one looks.
func (m *memoryUse) surelyOver() bool { return m.kernel+m.files > m.limit }

// memory returns the memory of the processes, in bytes, without what cannot matter for the
// limit. Where that seems to exceed the limit, it counts exactly, which takes longer:
// memory shared by several processes counts once.
func (u *usage) memory(limit int64) (int64, error) {
	all, ended, err := statuses()
	if err != nil {
		return 0, err
	}
	m := &memoryUse{limit: limit, ended: ended}
	defer func() { u.privateGrowth.doubt = m.ended && m.mayHave > limit }()
	m.add(all)
	for _, add := range []func(*memoryUse) error{u.addFiles, u.addSegments, u.addMessages, u.addSemaphores, u.addTerminals} {
		if err := add(m); err != nil {
			return 0, err
		}
	}
	seen, err := u.addDescriptors(m)
	if err == nil {
		err = u.hiddenMemory(m, all, seen)
	}
	if err != nil {
		return 0, err
	}
	if m.total()+mostOfThreads(all, u.limits[unix.RLIMIT_NOFILE])+mostMaps(all, u.maps) <= limit {
		return m.total(), nil
	}
	if err := u.addThreads(m, all); err != nil {
		return 0, err
	}
	if m.over() {
		if err := m.exactly(all); err != nil {
			return 0, err
		}
	}
	maps := mostMaps(all, u.maps)
	if m.total()+maps > limit {
		maps, err = countMaps(all, limit-m.total())
	}
	return m.total() + maps, err
}

// threads returns the number of processes and threads.
func (u *usage) threads(int64) (threads int64, err error) {
	all, _, err := statuses()
	for _, s := range all {
		threads += s.threads
	}
	return threads, err
}

func pathError(verb, name string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: verb, Path: name, Err: err}
}
