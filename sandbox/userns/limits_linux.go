//go:build amd64 || arm64

package userns

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/sandbox"
)

// stepLimits are the limits that the step has and this process must not have: it
// makes files and threads of its own.
func stepLimits(l sandbox.Limits) map[int]uint64 {
	return map[int]uint64{unix.RLIMIT_NPROC: uint64(l.Processes + ownThreads), unix.RLIMIT_FSIZE: uint64(l.Disk)}
}

// ownThreads is how many threads this program may have, which count as the step's.
const ownThreads = 32

// raiseLimits lets this process have as much again as it may after the step was
// started with less; it needs open files for deep directories, too.
func raiseLimits() error {
	for _, which := range []int{unix.RLIMIT_NOFILE, unix.RLIMIT_NPROC, unix.RLIMIT_FSIZE} {
		var limit unix.Rlimit
		if err := unix.Getrlimit(which, &limit); err != nil {
			return err
		}
		limit.Cur = limit.Max
		if err := unix.Setrlimit(which, &limit); err != nil {
			return err
		}
	}
	return nil
}

// limitProgram keeps the step from raising limits that it was started with.
func limitProgram(pid int, l sandbox.Limits) error {
	for which, value := range stepLimits(l) {
		var had unix.Rlimit
		err := unix.Prlimit(pid, which, nil, &had)
		if err == nil {
			value = min(value, had.Max)
			err = unix.Prlimit(pid, which, &unix.Rlimit{Cur: value, Max: value}, nil)
		}
		if err != nil && err != unix.ESRCH {
			return fmt.Errorf("set limits: %w", err)
		}
	}
	return nil
}

// setLimits sets what the kernel limits for each process or user, of stepLimits
// so that it can be raised again.
func setLimits(l sandbox.Limits) error {
	// One byte keeps even a core pattern that is a program from running.
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: 1, Max: 1}); err != nil {
		return fmt.Errorf("set limits: %w", err)
	}
	for which, value := range stepLimits(l) {
		var limit unix.Rlimit
		err := unix.Getrlimit(which, &limit)
		if err == nil {
			limit.Cur = min(value, limit.Max)
			err = unix.Setrlimit(which, &limit)
		}
		if err != nil {
			return fmt.Errorf("set limits: %w", err)
		}
	}
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return fmt.Errorf("set limits: %w", err)
	}
	// The same for all steps, if the machine has that many.
	files.Max = min(files.Max, 1<<19)
	files.Cur = min(files.Max, 1024)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return fmt.Errorf("set limits: %w", err)
	}
	return nil
}
