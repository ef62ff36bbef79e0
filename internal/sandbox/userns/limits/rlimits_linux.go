//go:build amd64 || arm64

package limits

import (
	"fmt"
	"math"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox"
)

// stepLimits returns the limits that apply to the step and must not apply to this process,
// which makes files and threads of its own.
func stepLimits(l sandbox.Limits) map[int]uint64 {
	return map[int]uint64{unix.RLIMIT_NPROC: uint64(l.Processes + ownThreads), unix.RLIMIT_FSIZE: uint64(l.Disk)}
}

// ownThreads is how many threads this program may have; they count as the step's.
const ownThreads = 32

// raiseLimits raises this process's limits to what they were before the step was started
// with lower ones; it needs open files for deep directories, too.
func raiseLimits() error {
	for _, which := range ownLimits() {
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

// ownLimits returns the limits that have to be high for this process.
func ownLimits() []int { return []int{unix.RLIMIT_NOFILE, unix.RLIMIT_NPROC, unix.RLIMIT_FSIZE} }

// mostFiles is how many open files a process of a step may have: the same for all steps, if
// the machine allows that many.
const mostFiles = 1 << 19

// usualFiles is how many it may have unless it asks for more.
const usualFiles = 1024

// hardLimits returns the hard limits for ownLimits, by number, as they are or will be once
// the step has been started.
func hardLimits() (map[int]uint64, error) {
	all := map[int]uint64{}
	for _, which := range ownLimits() {
		var limit unix.Rlimit
		if err := unix.Getrlimit(which, &limit); err != nil {
			return nil, fmt.Errorf("get limits: %w", err)
		}
		all[which] = limit.Max
	}
	all[unix.RLIMIT_NOFILE] = min(all[unix.RLIMIT_NOFILE], mostFiles)
	return all, nil
}

// Seal keeps a process that is to become the step's program, and what it starts, from
// raising its limits.
func Seal(pid int, l sandbox.Limits) error {
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

// kernelLimits returns limits of what the kernel keeps for a user of a namespace and no
// usage includes: pending signals, and timers, of some 400 bytes each; bytes of POSIX
// message queues, and of memory that is locked or being sent.
func kernelLimits() map[int]uint64 {
	return map[int]uint64{unix.RLIMIT_SIGPENDING: 8 << 10, unix.RLIMIT_MSGQUEUE: 800 << 10, unix.RLIMIT_MEMLOCK: 8 << 20}
}

// Set sets what the kernel limits for each process or user: for this process and what it
// starts. Those of stepLimits can be raised again until Seal.
func Set(l sandbox.Limits) error {
	// One byte also keeps a core pattern that is a program from running.
	err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: 1, Max: 1})
	for which, value := range stepLimits(l) {
		if err == nil {
			err = lowerLimit(which, value, math.MaxUint64)
		}
	}
	for which, value := range kernelLimits() {
		if err == nil {
			err = lowerLimit(which, value, value)
		}
	}
	if err == nil {
		err = lowerLimit(unix.RLIMIT_NOFILE, usualFiles, mostFiles)
	}
	if err != nil {
		return fmt.Errorf("set limits: %w", err)
	}
	return nil
}

// lowerLimit sets a limit of this process, soft and hard, but does not raise the hard one.
func lowerLimit(which int, soft, hard uint64) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(which, &limit); err != nil {
		return err
	}
	limit.Max = min(limit.Max, hard)
	limit.Cur = min(limit.Max, soft)
	return unix.Setrlimit(which, &limit)
}
