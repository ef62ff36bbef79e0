//go:build amd64 || arm64

package limits

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox"
	"github.com/varve-image/varve/internal/sandbox/userns/worktree"
)

// Watch looks at what a step uses, and ends all of its processes when that exceeds a limit.
type Watch struct {
	// reached is the limit that was reached, or might have been.
	reached  atomic.Pointer[sandbox.LimitError]
	limits   sandbox.Limits
	usage    *usage
	frozen   frozen
	done     chan struct{}
	watchers sync.WaitGroup
}

// watchInterval is how often usage near a limit is checked.
const watchInterval = 20 * time.Millisecond

// The most that a processor can come to use in a second: bytes that it writes, and
// processes that it starts.
const (
	watchRate = 8 << 30
	forkRate  = 20_000
)

// longestPause limits the time between checks where the limit is far, or the check is
// costly.
const longestPause = 2 * time.Second

// Options describe what a watch is for.
type Options struct {
	Limits sandbox.Limits
	// Tree is the step's tree, and Temporary are the directories in memory that are the
	// sandbox's own.
	Tree      worktree.Tree
	Temporary []string
	// OwnNetwork says that the step has a network to itself.
	OwnNetwork bool
}

// New opens what is looked at, and notes what there is before the step.
func New(opts Options) (*Watch, error) {
	u, err := newUsage(opts)
	if err != nil {
		return nil, err
	}
	return &Watch{limits: opts.Limits, usage: u, done: make(chan struct{})}, nil
}

// Start watches what is used until Stop. It begins after the program has its
// own limits, because each look raises this process's.
func (w *Watch) Start() {
	if w.limits.Memory > 0 {
		w.watch(sandbox.LimitMemory, w.limits.Memory, watchRate, w.usage.memory)
	}
	w.watch(sandbox.LimitDisk, w.limits.Disk, watchRate, w.usage.disk)
	w.watch(sandbox.LimitProcesses, int64(w.limits.Processes), forkRate, w.usage.threads)
}

// Reached returns the limit that was reached, or might have been, or nil.
func (w *Watch) Reached() *sandbox.LimitError { return w.reached.Load() }

// Stop ends the watch, and waits for what it does.
func (w *Watch) Stop() {
	close(w.done)
	w.watchers.Wait()
}

// looks measures usage, in bytes or numbers; the result need not be exact if it exceeds the
// limit.
type looks func(limit int64) (used int64, err error)

// watch looks again and again, but not much before the limit can be reached, and for no
// more than a tenth of the time, unless that would be too rare. rate is how much more a
// processor can come to use in a second.
func (w *Watch) watch(which sandbox.Limit, limit, rate int64, look looks) {
	soonest := func(left int64) time.Duration {
		seconds := float64(left) / float64(rate*int64(runtime.NumCPU()))
		return time.Duration(min(seconds, longestPause.Seconds()) * float64(time.Second))
	}
	w.watchers.Go(func() {
		wait := soonest(limit) // a short step is never looked at
		for {
			select {
			case <-w.done:
				return
			case <-time.After(max(wait, watchInterval)):
			}
			before := monotonic()
			used := w.look(which, limit, look)
			wait = max(min(10*(monotonic()-before), longestPause), soonest(limit-used))
		}
	})
}

// look looks once, and ends the step if its usage exceeds the limit or cannot be known.
// Doubtful usage is looked at again while nothing moves.
func (w *Watch) look(which sandbox.Limit, limit int64, look looks) (used int64) {
	err := w.usage.see()
	if err == nil {
		used, err = look(limit)
	}
	if err == nil && used <= limit && w.usage.inDoubt(which) {
		err = w.frozen.hold(func() (err error) {
			used, err = look(limit)
			return err
		})
	}
	if err == nil && used <= limit {
		return used
	}
	reached := &sandbox.LimitError{Limit: which}
	if err != nil {
		reached.Unseen = err.Error()
	}
	w.reached.CompareAndSwap(nil, reached)
	_ = unix.Kill(-1, unix.SIGKILL) // there may be no process
	return limit
}

// monotonic returns the time of a clock; only differences mean something.
func monotonic() time.Duration {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // it never fails
	return time.Duration(now.Nano())
}
