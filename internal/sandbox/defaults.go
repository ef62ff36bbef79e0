package sandbox

import (
	"bytes"
	"os"
	"strconv"
	"time"
)

// The limits of steps where the user sets none.
const (
	// DefaultTime limits how long a step may take.
	DefaultTime = time.Hour
	// DefaultOutput limits how much a step may write to its standard output and error, in
	// bytes.
	DefaultOutput = 1 << 30
)

// DefaultMemory returns how much memory the processes of a step may use, in bytes: three
// quarters of what this machine, or the container that varve runs in, has; 0 where that is
// not known.
func DefaultMemory() int64 { return machineMemory() / 4 * 3 }

// machineMemory returns how much memory this machine, or the container that varve runs in,
// has, in bytes; 0 where that is not known.
func machineMemory() int64 {
	least := firstNumber("/proc/meminfo") << 10 // MemTotal, in kB
	for _, file := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		if n := firstNumber(file); n > 0 {
			least = min(least, n)
		}
	}
	return least
}

// firstNumber returns the first word of a file that is a number above 0, or 0.
func firstNumber(file string) int64 {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	for word := range bytes.FieldsSeq(text) {
		if n, err := strconv.ParseInt(string(word), 10, 64); err == nil && n > 0 {
			return n
		}
	}
	return 0
}
