//go:build amd64 || arm64

package limits

import (
	"bufio"
	"errors"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/internal/sandbox/userns/procfs"
)

// Some of what a step has nobody can look at: files without a name that are only mapped, or
// in transit over a socket; shared memory that is in nobody's page tables. Where a step has
// such files or memory, all growth on the machine since the step began counts as the
// step's: that is too much if others caused it, and matters only if it exceeds the limit.

// growth measures how much more there is of something on the machine, in bytes.
type growth struct {
	least int64
	begun bool
	// doubt says that growth exceeded the limit when the step was seen to use less.
	doubt bool
}

// of returns how far the value exceeds its lowest so far, the latter without what the step
// is known to have. What others free does not offset the step's growth.
func (g *growth) of(now, known int64) int64 {
	if !g.begun || now-known < g.least {
		g.least, g.begun = now-known, true
	}
	return now - g.least
}

// inDoubt reports whether the last look may have missed something.
func (u *usage) inDoubt(which sandbox.Limit) bool {
	switch which {
	case sandbox.LimitMemory:
		return u.privateGrowth.doubt
	case sandbox.LimitDisk:
		return u.diskGrowth.doubt
	}
	return false
}

// machineMemory returns the machine's memory in files and shared memory, including what is
// swapped out, and the private memory of processes.
func machineMemory() (shared, private int64, err error) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, 0, err
	}
	var total, free int64
	err = eachField("/proc/meminfo", text, func(key string) *int64 {
		switch key {
		case "AnonPages":
			return &private
		case "Shmem":
			return &shared
		case "SwapTotal":
			return &total
		case "SwapFree":
			return &free
		}
		return nil
	})
	return shared + total - free, private, err
}

// hiddenMemory adds to m what shared memory the step may have, if that would exceed the
// limit and some of it is hidden. seen are the open files.
func (u *usage) hiddenMemory(m *memoryUse, all []status, seen map[object]bool) error {
	now, private, err := machineMemory()
	if err != nil {
		return err
	}
	m.mayHave = u.privateGrowth.of(private, m.private)
	grown := u.memoryGrowth.of(now, m.files)
	if grown <= m.files || m.kernel+m.private+grown <= m.limit {
		return nil
	}
	hidden, err := anyOf(
		func() (bool, error) {
			return eachMapping(all, func(at *mapping) bool {
				return at.dev == u.shm && !strings.HasPrefix(at.name, "/SYSV") && !seen[at.object]
			})
		},
		func() (bool, error) {
			return eachHeld(all, func(st *unix.Stat_t) bool { return st.Dev == u.shm && !seen[object{st.Dev, st.Ino}] })
		},
	)
	if hidden {
		m.files = grown
	}
	return err
}

// hiddenDisk returns what the step may have on disk: its known usage, unless the growth on
// the machine would exceed the limit and some of the step's usage is hidden.
func (u *usage) hiddenDisk(used, limit int64) (int64, error) {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(u.tree, &fs); err != nil {
		return 0, err
	}
	grown := u.diskGrowth.of(int64(fs.Blocks-fs.Bfree)*fs.Frsize, used)
	u.diskGrowth.doubt = false
	if grown <= used || grown <= limit {
		return used, nil
	}
	all, _, err := statuses()
	if err != nil {
		return 0, err
	}
	onDisk := func(dev uint64) bool { return dev != u.shm && u.tmpfs[dev] == 0 }
	hidden, err := anyOf(
		func() (bool, error) {
			return eachMapping(all, func(at *mapping) bool {
				return onDisk(at.dev) && strings.HasSuffix(at.name, " (deleted)")
			})
		},
		func() (bool, error) {
			return eachHeld(all, func(st *unix.Stat_t) bool { return onDisk(st.Dev) && st.Nlink == 0 })
		},
		onTheirWay,
	)
	if hidden {
		used = grown
	}
	u.diskGrowth.doubt = !hidden
	return used, err
}

// mapping is a file, or something like one, that a process has mapped.
type mapping struct {
	object
	name string
}

// eachMapping reports whether any mapping of a process is wanted, or looking is not
// permitted.
func eachMapping(all []status, wanted func(*mapping) bool) (bool, error) {
	memories := distinct{kind: kcmpVM}
	for _, s := range all {
		if !s.alive || !memories.add(s.tid) {
			continue
		}
		found, err := mappingOf(procfs.Dir(s.tid), wanted)
		if found || err != nil {
			return found, err
		}
	}
	return false, nil
}

// mappingOf does so for one process.
func mappingOf(dir string, wanted func(*mapping) bool) (bool, error) {
	f, err := os.Open(dir + "/maps")
	if err == nil {
		defer f.Close()
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			at, err := parseMapping(lines.Text())
			if err != nil {
				return false, err
			}
			if at != nil && wanted(at) {
				return true, nil
			}
		}
		err = lines.Err()
	}
	return mayBe(dir, err)
}

// mayBe reports whether something may be there after a look has failed: not for a task that
// has ended, but where looking is not permitted.
func mayBe(task string, err error) (bool, error) {
	err = unlessEnded(task, err)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		return true, nil
	}
	return false, err
}

// parseMapping reads a line of proc_pid_maps(5); nil means that no file is mapped.
func parseMapping(line string) (*mapping, error) {
	fields := strings.SplitN(line, " ", 6)
	if len(fields) < 5 {
		return nil, errors.New("a list of mappings has " + strconv.Quote(line))
	}
	ino, err := strconv.ParseUint(fields[4], 10, 64)
	if err != nil || ino == 0 {
		return nil, err
	}
	major, minor, _ := strings.Cut(fields[3], ":")
	high, err := strconv.ParseUint(major, 16, 32)
	if err != nil {
		return nil, err
	}
	low, err := strconv.ParseUint(minor, 16, 32)
	if err != nil {
		return nil, err
	}
	name := ""
	if len(fields) == 6 {
		name = strings.TrimLeft(fields[5], " ")
	}
	return &mapping{object{unix.Mkdev(uint32(high), uint32(low)), ino}, name}, nil
}

// eachHeld reports whether any task has a wanted file as its working or root directory, or
// as the program that it runs.
func eachHeld(all []status, wanted func(*unix.Stat_t) bool) (bool, error) {
	return eachTask(all, func(task string) (bool, error) {
		for _, which := range []string{"/cwd", "/root", "/exe"} {
			var st unix.Stat_t
			err := unix.Stat(task+which, &st)
			if err == nil && wanted(&st) {
				return true, nil
			}
			if held, err := mayBe(task, err); held || err != nil {
				return held, err
			}
		}
		return false, nil
	})
}

// eachTask reports whether a look at any thread found something.
func eachTask(all []status, look func(task string) (bool, error)) (bool, error) {
	for _, s := range all {
		tids, err := procfs.Numbers(procfs.Dir(s.tid) + "/task")
		if err != nil && !procfs.Gone(err) {
			return false, err
		}
		for _, tid := range tids {
			if found, err := look(procfs.Task(s.tid, tid)); found || err != nil {
				return found, err
			}
		}
	}
	return false, nil
}

// anyOf reports whether one of several looks found something. It skips those after it.
func anyOf(looks ...func() (bool, error)) (bool, error) {
	for _, look := range looks {
		if found, err := look(); found || err != nil {
			return found, err
		}
	}
	return false, nil
}

// onTheirWay reports whether open files are in transit over a socket.
func onTheirWay() (passed bool, err error) {
	err = eachOpenFile(func(f *openFile) error {
		var st unix.Stat_t
		if err := unix.Stat(f.path(), &st); err != nil {
			return pathError("stat", f.path(), err)
		}
		if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
			return nil
		}
		if passed, err = passedOver(f); passed {
			return errEnough
		}
		return err
	})
	if passed {
		return true, nil
	}
	return false, err
}

// shmDevice returns the device of shared memory and of files in memory without a name.
func shmDevice() (uint64, error) {
	fd, err := unix.MemfdCreate("", unix.MFD_CLOEXEC)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	return st.Dev, err
}
