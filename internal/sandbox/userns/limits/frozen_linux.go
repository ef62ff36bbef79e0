//go:build amd64 || arm64

package limits

import (
	"bytes"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox/userns/procfs"
)

// frozen stops all processes of a step while it is looked at: a process that sees us
// looking could move its files, or its memory, out of sight at each moment.
type frozen struct {
	mu   sync.Mutex
	last time.Duration
}

// How long a step runs at least between two stops, and how long stopping may take.
const (
	thawedFor = time.Second
	stopsIn   = 100 * time.Millisecond
)

// hold calls a function while nothing moves, or does nothing if it last did so less than a
// moment ago.
func (f *frozen) hold(look func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if monotonic()-f.last < thawedFor {
		return nil
	}
	defer func() { f.last = monotonic() }()
	before, err := statesOf()
	if err != nil {
		return err
	}
	_ = unix.Kill(-1, unix.SIGSTOP) // there may be no process
	defer func() {
		for pid := range stopped(before) { // those that the step has stopped stay stopped
			_ = unix.Kill(pid, unix.SIGCONT)
		}
	}()
	for until := monotonic() + stopsIn; running() && monotonic() < until; {
		time.Sleep(time.Millisecond)
	}
	return look()
}

// stopped yields the processes that were not stopped before.
func stopped(before map[int]byte) func(func(int) bool) {
	return func(yield func(int) bool) {
		pids, _ := procfs.Processes() // a process that cannot be found has ended
		for _, pid := range pids {
			if before[pid] != 'T' && !yield(pid) {
				return
			}
		}
	}
}

// running reports whether any process runs.
func running() bool {
	states, err := statesOf()
	for _, state := range states {
		if state == 'R' {
			return true
		}
	}
	return err != nil
}

// statesOf returns the states of all processes, as in proc_pid_stat(5).
func statesOf() (map[int]byte, error) {
	pids, err := procfs.Processes()
	states := make(map[int]byte, len(pids))
	for _, pid := range pids {
		text, err := os.ReadFile(procfs.Dir(pid) + "/stat")
		if procfs.Gone(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		// After the name, which may contain anything.
		if at := bytes.LastIndexByte(text, ')'); at >= 0 && at+2 < len(text) {
			states[pid] = text[at+2]
		}
	}
	return states, err
}
