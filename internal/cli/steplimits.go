package cli

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"github.com/varve-image/varve/internal/sandbox"
)

// stepLimits bounds what each script may use.
type stepLimits struct {
	time                 time.Duration
	memory, disk, output byteSize
	processes            int
}

// The limits of scripts where no flag says otherwise.
const (
	defaultStepTime   = time.Hour
	defaultStepOutput = 1 << 30
	// maxProcesses is as many as Linux can have (PID_MAX_LIMIT).
	maxProcesses = 4 << 20
)

func (l *stepLimits) register(f *pflag.FlagSet) {
	f.DurationVar(&l.time, "max-step-time", defaultStepTime, "`DURATION`: how long a script may run, such as 90s or 2h, or 0 for as long as it wants")
	f.Var(&l.memory, "max-step-memory", "`SIZE`: most memory that a script's processes may use")
	showDefault(f, "max-step-memory", "three quarters of the machine's")
	f.Var(&l.disk, "max-step-disk", "`SIZE`: most that a script may write to files")
	showDefault(f, "max-step-disk", "64GiB")
	f.Var(&l.output, "max-step-output", "`SIZE`: most that a script may write to standard output and error")
	showDefault(f, "max-step-output", "1GiB")
	f.IntVar(&l.processes, "max-step-processes", sandbox.DefaultProcesses, "`NUMBER`: most processes and threads that a script may have")
}

func (l *stepLimits) check() error {
	if l.time < 0 {
		return usageError(fmt.Errorf("--max-step-time %v: expected 0 or more", l.time))
	}
	if l.processes < 1 || l.processes > maxProcesses {
		return usageError(fmt.Errorf("--max-step-processes %d: expected a number from 1 to %d", l.processes, maxProcesses))
	}
	return nil
}

// limits are the limits with their defaults.
func (l *stepLimits) limits() sandbox.Limits {
	return sandbox.Limits{
		Time: l.time, Memory: cmp.Or(int64(l.memory), machineMemory()/4*3), Disk: int64(l.disk),
		Output: cmp.Or(int64(l.output), defaultStepOutput), Processes: l.processes,
	}
}

// machineMemory is what this machine, or the container that this is, has of
// memory, in bytes; 0 where that is not known.
func machineMemory() int64 {
	least := firstNumber("/proc/meminfo") << 10 // MemTotal, in kB
	for _, file := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		if n := firstNumber(file); n > 0 {
			least = min(least, n)
		}
	}
	return least
}

// firstNumber is the first word of a file that is a number above 0, or 0.
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
