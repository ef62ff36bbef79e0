//go:build amd64 || arm64

package limits

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox/userns/procfs"
)

// mostOpen limits how many open files are looked at, so that a look ends. A process may
// have 1<<19.
const mostOpen = 1 << 20

// openFile is an open file of a task.
type openFile struct {
	task   string // its directory in /proc
	number int
	// holder is a descriptor of the task, opened when it is needed; nil means this process.
	holder *holder
}

func (f *openFile) path() string { return f.task + "/fd/" + strconv.Itoa(f.number) }

func (f *openFile) info() string { return f.task + "/fdinfo/" + strconv.Itoa(f.number) }

// errAlien says that the kernel or another sandbox forbids copies of other processes'
// files.
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

// holder refers to a task, for copies of its files.
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

// eachOpenFile calls a function for all open files of all processes but this one. A table
// that tasks share is looked at once.
func eachOpenFile(visit func(*openFile) error) error {
	pids, err := procfs.Processes()
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
		tids, err := procfs.Numbers(procfs.Dir(pid) + "/task")
		if err != nil && !procfs.Gone(err) {
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
	task := procfs.Task(pid, tid)
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

// eachCopy does so for a task whose files only the machine's root may list, because its
// program is not readable: it makes a copy of each.
func eachCopy(task string, h *holder, visit func(*openFile) error) error {
	s, err := statusOf(task)
	if err != nil || !s.alive {
		return err
	}
	for number := range int(s.numbers) {
		fd, err := (&openFile{task, number, h}).copy()
		if procfs.Gone(err) {
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

// unlessEnded returns the error, or nil where the task has ended: then there is nothing
// left to look at.
func unlessEnded(task string, err error) error {
	if err == nil || procfs.Gone(err) {
		return nil
	}
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		if s, statusErr := statusOf(task); procfs.Gone(statusErr) || statusErr == nil && !s.alive {
			return nil
		}
	}
	return err
}
