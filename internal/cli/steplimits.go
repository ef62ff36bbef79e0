package cli

import (
	"cmp"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"github.com/varve-image/varve/internal/cmdline"
	"github.com/varve-image/varve/internal/sandbox"
)

// stepLimits limits what each script may use.
type stepLimits struct {
	time                 time.Duration
	memory, disk, output cmdline.Size
	processes            int
}

// maxProcesses is as many as Linux can have (PID_MAX_LIMIT).
const maxProcesses = 4 << 20

func (l *stepLimits) register(f *pflag.FlagSet) {
	f.DurationVar(&l.time, "max-step-time", sandbox.DefaultTime, "`DURATION`: how long a script may run, such as 90s or 2h, or 0 for as long as it wants")
	f.Var(&l.memory, "max-step-memory", "`SIZE`: most memory that a script's processes may use")
	cmdline.ShowDefault(f, "max-step-memory", "three quarters of the machine's")
	f.Var(&l.disk, "max-step-disk", "`SIZE`: most that a script may write to files")
	cmdline.ShowDefault(f, "max-step-disk", "64GiB")
	f.Var(&l.output, "max-step-output", "`SIZE`: most that a script may write to standard output and error")
	cmdline.ShowDefault(f, "max-step-output", "1GiB")
	f.IntVar(&l.processes, "max-step-processes", sandbox.DefaultProcesses, "`NUMBER`: most processes and threads that a script may have")
}

func (l *stepLimits) check() error {
	if l.time < 0 {
		return cmdline.Usage(fmt.Errorf("--max-step-time %v: expected 0 or more", l.time))
	}
	if l.processes < 1 || l.processes > maxProcesses {
		return cmdline.Usage(fmt.Errorf("--max-step-processes %d: expected a number from 1 to %d", l.processes, maxProcesses))
	}
	return nil
}

// limits returns the limits with their defaults.
func (l *stepLimits) limits() sandbox.Limits {
	return sandbox.Limits{
		Time: l.time, Memory: cmp.Or(int64(l.memory), sandbox.DefaultMemory()), Disk: int64(l.disk),
		Output: cmp.Or(int64(l.output), sandbox.DefaultOutput), Processes: l.processes,
	}
}
