//go:build amd64 || arm64

package procfs

import (
	"errors"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// Processes returns the numbers of all processes but the first.
func Processes() ([]int, error) {
	pids, err := Numbers("/proc")
	return slices.DeleteFunc(pids, func(pid int) bool { return pid == 1 }), err
}

// Numbers returns the names in a directory that are numbers.
func Numbers(dir string) (numbers []int, err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	for _, name := range names {
		if n, err := strconv.Atoi(name); err == nil {
			numbers = append(numbers, n)
		}
	}
	return numbers, err
}

// Dir returns the directory of a process.
func Dir(pid int) string { return "/proc/" + strconv.Itoa(pid) }

// Task returns the directory of a thread of a process.
func Task(pid, tid int) string { return Dir(pid) + "/task/" + strconv.Itoa(tid) }

// Gone reports whether an error says that a process, or a file of one, no longer exists.
func Gone(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) }
