//go:build amd64 || arm64

package userns

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/sandbox"
)

// watch looks at what a step uses, and ends all of its processes when that is
// more than a limit.
type watch struct {
	// reached is the limit that was reached.
	reached  atomic.Pointer[sandbox.Bound]
	done     chan struct{}
	watchers sync.WaitGroup
}

// watchInterval is how often a limit that is near is looked at.
const watchInterval = 20 * time.Millisecond

// The most that a processor comes to use in a second: bytes that it writes, and
// processes that it starts.
const (
	watchRate = 8 << 30
	forkRate  = 20_000
)

// longestPause is how long may pass before a limit is looked at again that is
// costly to look at.
const longestPause = 2 * time.Second

// startWatch watches what is used until stop.
func startWatch(limits sandbox.Limits, u *usage) *watch {
	w := &watch{done: make(chan struct{})}
	if limits.Memory > 0 {
		w.watch(sandbox.BoundMemory, limits.Memory, watchRate, u.memory)
	}
	before := u.disk(0)
	w.watch(sandbox.BoundDisk, limits.Disk, watchRate, func(most int64) int64 { return u.disk(most) - before })
	w.watch(sandbox.BoundProcesses, int64(limits.Processes), forkRate, u.threads)
	return w
}

// stop ends the watch, and waits for what it does.
func (w *watch) stop() {
	close(w.done)
	w.watchers.Wait()
}

// watch looks again and again, but not before the limit can be reached, and not
// more than a tenth of the time unless that would be too rare. rate is how much more a
// processor can come to use in a second.
func (w *watch) watch(bound sandbox.Bound, limit, rate int64, look func(limit int64) (used int64)) {
	w.watchers.Go(func() {
		var wait time.Duration
		for {
			select {
			case <-w.done:
				return
			case <-time.After(max(wait, watchInterval)):
			}
			before := monotonic()
			used := look(limit)
			if used > limit {
				w.reached.CompareAndSwap(nil, &bound)
				_ = unix.Kill(-1, unix.SIGKILL) // there may be none
			}
			soonest := float64(limit-used) / float64(rate*int64(runtime.NumCPU()))
			wait = max(min(10*(monotonic()-before), longestPause), time.Duration(soonest*float64(time.Second)))
		}
	})
}

// monotonic is a clock's time, which says nothing by itself.
func monotonic() time.Duration {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // it never fails
	return time.Duration(now.Nano())
}
