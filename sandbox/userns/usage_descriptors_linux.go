//go:build amd64 || arm64

package userns

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// What the kernel keeps, in bytes, at most or nearly so.
const (
	costOpen  = 256      // of an open file
	costText  = 8 << 10  // of one of /proc, what it says
	costPipe  = 12 << 10 // of a pipe with nothing in it, which keeps some pages
	costOther = 512      // of a counter, timer, set or the like
	costWatch = 512      // of a file in a set
	costLock  = 256      // of a part of a file
	costEvent = 4        // of a byte of what happened to files
)

// mostOpen is how many open files are looked at, so that a look ends. A process
// may have 1<<19.
const mostOpen = 1 << 20

// mostEvents is what the events of 16384 files come to, which is how many may wait.
const mostEvents = 16384 * 320

// openFile is an open file of a task.
type openFile struct {
	task   string // its directory in /proc
	number int
	// holder is a descriptor of the task, opened when it is needed; nil is this process.
	holder *holder
}

func (f *openFile) path() string { return f.task + "/fd/" + strconv.Itoa(f.number) }

func (f *openFile) info() string { return f.task + "/fdinfo/" + strconv.Itoa(f.number) }

// errAlien says that the kernel or another sandbox lets nobody have copies of
// other processes' files.
var errAlien = errors.New("this process may not have others' files")

// copy returns a descriptor of the same open file, which does nothing to it.
func (f *openFile) copy() (int, error) {
	if f.holder == nil {
		return unix.FcntlInt(uintptr(f.number), unix.F_DUPFD_CLOEXEC, 0)
	}
	fd := -1
	pid, err := f.holder.open()
	if err == nil {
		fd, err = unix.PidfdGetfd(pid, f.number, 0)
	}
	switch err {
	case unix.EPERM, unix.ENOSYS, unix.EINVAL: // the last for threads before Linux 6.9
		err = errAlien
	case unix.EBADF:
		err = unix.ENOENT
	}
	return fd, err
}

// holder is a task, for copies of its files.
type holder struct{ pid, tid, fd int }

func (h *holder) open() (int, error) {
	if h.fd >= 0 {
		return h.fd, nil
	}
	flags := 0
	if h.tid != h.pid {
		flags = unix.PIDFD_THREAD
	}
	var err error
	h.fd, err = unix.PidfdOpen(h.tid, flags)
	return h.fd, err
}

func (h *holder) close() {
	if h.fd >= 0 {
		unix.Close(h.fd)
	}
}

// eachOpenFile calls a function for all open files of all processes but this one.
// Tasks with a table in common have it looked at once.
func eachOpenFile(visit func(*openFile) error) error {
	pids, err := processes()
	if err != nil {
		return err
	}
	left := mostOpen
	counted := func(f *openFile) error {
		if left--; left < 0 {
			return fmt.Errorf("there are more than %d open files", mostOpen)
		}
		return visit(f)
	}
	tables := distinct{kind: kcmpFiles}
	for _, pid := range pids {
		tids, err := numbersIn(procOf(pid) + "/task")
		if err != nil && !gone(err) {
			return err
		}
		for _, tid := range tids {
			if !tables.add(tid) {
				continue
			}
			if err := eachOf(pid, tid, counted); err != nil {
				return err
			}
		}
	}
	return nil
}

// eachOf does so for the files of a task.
func eachOf(pid, tid int, visit func(*openFile) error) error {
	h := &holder{pid, tid, -1}
	defer h.close()
	task := taskOf(pid, tid)
	dir, err := os.Open(task + "/fd")
	if errors.Is(err, unix.EACCES) {
		return unlessEnded(task, eachCopy(task, h, visit))
	}
	if err != nil {
		return unlessEnded(task, err)
	}
	defer dir.Close()
	for {
		names, err := dir.Readdirnames(500)
		for _, name := range names {
			number, err := strconv.Atoi(name)
			if err != nil {
				return fmt.Errorf("%s has %q", dir.Name(), name)
			}
			if err := unlessEnded(task, visit(&openFile{task, number, h})); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return unlessEnded(task, err)
		}
	}
}

// eachCopy does so for a task whose files only the machine's root may list, which is
// so if nobody may read its program: it has a copy of each.
func eachCopy(task string, h *holder, visit func(*openFile) error) error {
	s, err := statusOf(task)
	if err != nil || !s.alive {
		return err
	}
	for number := range int(s.numbers) {
		fd, err := (&openFile{task, number, h}).copy()
		if gone(err) {
			continue
		}
		if err == nil {
			err = visit(&openFile{task: "/proc/self", number: fd})
			unix.Close(fd)
		}
		if err != nil {
			return fmt.Errorf("open file %d of %s: %w", number, task, err)
		}
	}
	return nil
}

// unlessEnded is the error, or nil where it comes of a task that has ended: there
// is nobody then who may look at it.
func unlessEnded(task string, err error) error {
	if err == nil || gone(err) {
		return nil
	}
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		if s, statusErr := statusOf(task); gone(statusErr) || statusErr == nil && !s.alive {
			return nil
		}
	}
	return err
}

// object is what may be open several times.
type object struct{ dev, ino uint64 }

// errEnough ends a census that has found more than the limit.
var errEnough = errors.New("there is enough")

// census adds up what open files are of.
type census struct {
	u       *usage
	m       *memoryUse
	seen    map[object]bool
	locks   bool // there are many
	sockets socketCensus
}

// addDescriptors adds what open files are of.
func (u *usage) addDescriptors(m *memoryUse) error {
	c := &census{u: u, m: m, seen: map[object]bool{}}
	c.sockets.listeners = map[string]bool{}
	for fd := range 3 { // those that the step was given
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return err
		}
		c.seen[object{st.Dev, st.Ino}] = true
	}
	// To count all of them there takes the square of their number.
	n, err := countLines("/proc/locks", mostLocks)
	if err != nil {
		return err
	}
	c.locks = n == mostLocks
	used, err := socketsUsed()
	if err == nil {
		err = eachOpenFile(c.visit)
	}
	if err == nil {
		err = c.namelessSockets(used)
	}
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// mostLocks is how many locks the machine may have before those of each open file
// are counted.
const mostLocks = 1000

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
			c.m.kernel += costText
		}
		err = c.file(f, &st)
	case unix.S_IFIFO:
		err = c.once(&st, f, c.pipe, c.u.network.pipe)
	case unix.S_IFSOCK:
		err = c.once(&st, f, c.socket, c.u.network.socket)
	case unix.S_IFDIR, unix.S_IFCHR, unix.S_IFBLK, unix.S_IFLNK:
	default:
		err = c.other(f)
	}
	if err == nil && c.m.surelyOver() {
		err = errEnough
	}
	return err
}

// first tells whether an object is met for the first time.
func (c *census) first(st *unix.Stat_t) bool {
	o := object{st.Dev, st.Ino}
	met := c.seen[o]
	c.seen[o] = true
	return !met
}

// file adds what is locked of a file, and a file in memory without a name.
func (c *census) file(f *openFile, st *unix.Stat_t) error {
	if c.locks {
		n, err := countLines(f.info(), math.MaxInt64)
		if c.m.kernel += n * costLock; err != nil {
			return err
		}
	}
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

// inMemory tells whether a file is in memory other than the tree's.
func (u *usage) inMemory(f *openFile, st *unix.Stat_t) (bool, error) {
	if st.Dev == u.dev {
		return false, nil
	}
	var fs unix.Statfs_t
	err := unix.Statfs(f.path(), &fs)
	return fs.Type == unix.TMPFS_MAGIC || fs.Type == unix.HUGETLBFS_MAGIC, pathError("statfs", f.path(), err)
}

// once looks at a copy of an open pipe or socket, if its object is met for the
// first time. Where there can be no copy, it may have most bytes.
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
	if err = look(fd, f); err == unix.EBADF { // it is a path, nothing that is open
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

// other adds what is none of the usual types of files, such as sets of files that
// are waited for or watched.
func (c *census) other(f *openFile) error {
	c.m.kernel += costOther
	target, err := os.Readlink(f.path())
	watches := strings.Contains(target, "inotify")
	if err != nil || !watches && !strings.Contains(target, "[eventpoll]") {
		return err
	}
	n, err := countLines(f.info(), math.MaxInt64)
	c.m.kernel += n * costWatch
	if err == nil && watches {
		err = c.events(f)
	}
	return err
}

// events adds what waits to be read from a set of files that are watched.
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

// deletedOnDisk is what files have on disk that are open and have no name, or
// something over a limit.
func (u *usage) deletedOnDisk(limit int64) (used int64, err error) {
	seen := map[object]bool{}
	err = eachOpenFile(func(f *openFile) error {
		var st unix.Stat_t
		if err := unix.Stat(f.path(), &st); err != nil {
			return pathError("stat", f.path(), err)
		}
		o := object{st.Dev, st.Ino}
		kind := st.Mode & unix.S_IFMT
		if st.Nlink > 0 || kind != unix.S_IFREG && kind != unix.S_IFDIR || seen[o] {
			return nil
		}
		memory, err := u.inMemory(f, &st)
		if err != nil || memory {
			return err
		}
		seen[o] = true
		if used += max(st.Blocks*512, entrySize); used > limit {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return used, err
}
