//go:build amd64 || arm64

package userns

import (
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/sandbox"
)

// watch looks at what a step uses, and ends all of its processes when that is
// more than a limit.
type watch struct {
	// reached is the limit that was reached.
	reached atomic.Pointer[sandbox.Bound]
	stop    chan struct{}
}

// watchInterval is how often a limit that is near is looked at.
const watchInterval = 20 * time.Millisecond

// watchRate is more than what a processor writes in a second, in bytes.
const watchRate = 8 << 30

// startWatch watches what is used of memory, and of disk by the directory dir,
// until stop is closed.
func startWatch(limits sandbox.Limits, dir int) *watch {
	w := &watch{stop: make(chan struct{})}
	if limits.Memory > 0 {
		go w.every(sandbox.BoundMemory, limits.Memory, usedMemory)
	}
	if limits.Disk > 0 {
		start := usedDisk(dir)
		go w.every(sandbox.BoundDisk, limits.Disk, func(most int64) int64 { return usedDisk(dir) - start + usedDeleted() })
	}
	return w
}

// every looks again and again, but not before the limit can be reached, and not
// more than a tenth of the time.
func (w *watch) every(bound sandbox.Bound, limit int64, look func(limit int64) (used int64)) {
	var wait time.Duration
	for {
		select {
		case <-w.stop:
			return
		case <-time.After(max(wait, watchInterval)):
		}
		before := monotonic()
		used := look(limit)
		if used > limit {
			w.reached.CompareAndSwap(nil, &bound)
			_ = unix.Kill(-1, unix.SIGKILL) // there may be none
		}
		soonest := float64(limit-used) / float64(watchRate*runtime.NumCPU())
		wait = max(10*(monotonic()-before), time.Duration(soonest*float64(time.Second)))
	}
}

// monotonic is a clock's time, which says nothing by itself.
func monotonic() time.Duration {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // it never fails
	return time.Duration(now.Nano())
}
