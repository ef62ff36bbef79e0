//go:build amd64 || arm64

package limits

import (
	"errors"
	"math"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// What the kernel keeps, in bytes; upper limits, or nearly so.
const (
	costOpen  = 256     // of an open file
	costText  = 8 << 10 // of a file of /proc, its text, and again for each processor
	costCPU   = 256
	costPipe  = 12 << 10 // of a pipe with nothing in it, which keeps some pages
	costOther = 512      // of a counter, timer, set or the like
	costWatch = 512      // of a file in a set
	costLock  = 256      // of a part of a file
	costLine  = 100      // of what /proc says about it
	costEvent = 4        // of a byte of events about files
)

// mostEvents is the size of the events of 16384 files, the limit of events that may wait.
const mostEvents = 16384 * 320

// object identifies something that may be open several times.
type object struct{ dev, ino uint64 }

// errEnough ends a census that has found more than the limit.
var errEnough = errors.New("there is enough")

// census adds up what open files refer to.
type census struct {
	u       *usage
	m       *memoryUse
	seen    map[object]bool
	infos   int64 // how many open files of /proc describe an open file
	sockets socketCensus
}

// addDescriptors adds what open files refer to, and returns the objects that it has seen.
func (u *usage) addDescriptors(m *memoryUse) (map[object]bool, error) {
	c := &census{u: u, m: m, seen: map[object]bool{}}
	c.sockets.listeners = map[string]bool{}
	for fd := range 3 { // the files that the step was given
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return nil, err
		}
		c.seen[object{st.Dev, st.Ino}] = true
	}
	n, err := countLines("/proc/locks", u.locks+mostLocks)
	if err != nil {
		return nil, err
	}
	m.kernel += max(n-u.locks, 0) * costLock
	if n == u.locks+mostLocks {
		m.kernel += m.limit // the time for counting grows with the square of their number
	}
	u.longestInfo = max(u.longestInfo, n*costLine)
	used, err := socketsUsed()
	if err == nil {
		err = eachOpenFile(c.visit)
	}
	if err == nil {
		err = c.namelessSockets(used)
	}
	m.kernel += c.ofInfos()
	if errors.Is(err, errEnough) {
		err = nil
	}
	return c.seen, err
}

// mostLocks limits the file locks of a step where memory is limited.
const mostLocks = 20_000

func (c *census) visit(f *openFile) error {
	var st unix.Stat_t
	if err := unix.Stat(f.path(), &st); err != nil {
		return pathError("stat", f.path(), err)
	}
	c.m.kernel += costOpen
	var err error
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		if st.Dev == c.u.proc {
			err = c.ofProc(f)
		}
		if err == nil {
			err = c.file(f, &st)
		}
	case unix.S_IFIFO:
		err = c.once(&st, f, c.pipe, c.u.network.pipe)
	case unix.S_IFSOCK:
		c.sockets.dev = st.Dev
		err = c.once(&st, f, c.socket, c.u.network.socket)
	case unix.S_IFDIR, unix.S_IFCHR, unix.S_IFBLK, unix.S_IFLNK:
	default:
		err = c.other(f)
	}
	if err == nil && c.m.kernel+c.m.files+c.ofInfos() > c.m.limit {
		err = errEnough
	}
	return err
}

// ofProc adds an open file of /proc, whose text the kernel keeps.
func (c *census) ofProc(f *openFile) error {
	c.m.kernel += costText + int64(runtime.NumCPU())*costCPU
	target, err := os.Readlink(f.path())
	if strings.Contains(target, "/fdinfo/") {
		c.infos++
	}
	return err
}

// ofInfos returns the size of the texts about open files that the kernel keeps: at most
// twice the longest that was ever seen, because it may be shorter now.
func (c *census) ofInfos() int64 { return 2 * c.infos * c.u.longestInfo }

// lines returns the number of lines in the kernel's text about an open file.
func (c *census) lines(f *openFile) (int64, error) {
	n, size, err := measure(f.info(), math.MaxInt64)
	c.u.longestInfo = max(c.u.longestInfo, size)
	return n, err
}

// first reports whether an object is met for the first time.
func (c *census) first(st *unix.Stat_t) bool {
	o := object{st.Dev, st.Ino}
	met := c.seen[o]
	c.seen[o] = true
	return !met
}

// file adds a file in memory without a name.
func (c *census) file(f *openFile, st *unix.Stat_t) error {
	if st.Nlink > 0 {
		return nil
	}
	memory, err := c.u.inMemory(f, st)
	if _, counted := c.u.tmpfs[st.Dev]; err != nil || !memory || counted || !c.first(st) {
		return err
	}
	c.m.files += st.Blocks * 512
	c.m.kernel += costInode
	return nil
}

// inMemory reports whether a file is in memory, but outside the tree.
func (u *usage) inMemory(f *openFile, st *unix.Stat_t) (bool, error) {
	if st.Dev == u.dev {
		return false, nil
	}
	var fs unix.Statfs_t
	err := unix.Statfs(f.path(), &fs)
	return fs.Type == unix.TMPFS_MAGIC || fs.Type == unix.HUGETLBFS_MAGIC, pathError("statfs", f.path(), err)
}

// once looks at a copy of an open pipe or socket, if its object is met for the first time.
// Where no copy is possible, it counts as most bytes.
func (c *census) once(st *unix.Stat_t, f *openFile, look func(fd int, f *openFile) error, most int64) error {
	if !c.first(st) {
		return nil
	}
	fd, err := f.copy()
	if err == errAlien {
		c.m.kernel += most
		return nil
	}
	if err != nil {
		return pathError("copy", f.path(), err)
	}
	defer unix.Close(fd)
	if err = look(fd, f); err == unix.EBADF { // it is only a path (O_PATH)
		delete(c.seen, object{st.Dev, st.Ino})
		return nil
	}
	return pathError("look at", f.path(), err)
}

// pipe adds a pipe.
func (c *census) pipe(fd int, _ *openFile) error {
	size, err := unix.FcntlInt(uintptr(fd), unix.F_GETPIPE_SZ, 0)
	if err != nil {
		return err
	}
	waiting, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
	if err != nil {
		return err
	}
	c.m.kernel += costPipe + int64(size)/64
	if waiting > 0 {
		c.m.kernel += int64(size)
	}
	return nil
}

// other adds a file that is not of the usual types, such as sets of files that are waited
// for or watched.
func (c *census) other(f *openFile) error {
	c.m.kernel += costOther
	target, err := os.Readlink(f.path())
	watches := strings.Contains(target, "inotify")
	if err != nil || !watches && !strings.Contains(target, "[eventpoll]") {
		return err
	}
	n, err := c.lines(f)
	c.m.kernel += n * costWatch
	if err == nil && watches {
		err = c.events(f)
	}
	return err
}

// events adds the events that wait to be read from a set of watched files.
func (c *census) events(f *openFile) error {
	fd, err := f.copy()
	if err == errAlien {
		c.m.kernel += mostEvents
		return nil
	}
	if err != nil {
		return pathError("copy", f.path(), err)
	}
	defer unix.Close(fd)
	waiting, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
	c.m.kernel += int64(waiting) * costEvent
	return pathError("look at", f.path(), err)
}
