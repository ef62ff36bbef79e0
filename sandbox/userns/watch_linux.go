//go:build amd64 || arm64

package userns

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/sandbox"
)

// watch looks at what a step uses, and ends all of its processes when that is
// more than a limit. What it would miss because it happens too fast the kernel
// limits for each process; see setLimits.
type watch struct {
	limits sandbox.Limits
	dir    int // of which Limits.Disk is
	start  int64
	// reached is the limit that was reached.
	reached atomic.Pointer[string]
	stop    chan struct{}
}

// memoryInterval is how often memory is looked at.
const memoryInterval = 20 * time.Millisecond

// startWatch watches until stop is closed.
func startWatch(limits sandbox.Limits, dir int) *watch {
	w := &watch{limits: limits, dir: dir, stop: make(chan struct{})}
	if limits.Memory > 0 {
		go w.every(memoryInterval, func() (string, bool) {
			return describeBytes(limits.Memory) + " of memory", usedMemory() > limits.Memory
		})
	}
	if limits.Disk > 0 {
		w.start = usedDisk(dir)
		go w.every(memoryInterval, func() (string, bool) {
			return describeBytes(limits.Disk) + " of disk", usedDisk(dir)-w.start > limits.Disk
		})
	}
	return w
}

// every looks again and again, and not more than a tenth of the time.
func (w *watch) every(interval time.Duration, look func() (limit string, over bool)) {
	wait := interval
	for {
		select {
		case <-w.stop:
			return
		case <-time.After(wait):
		}
		var before, after unix.Timespec
		_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &before)
		limit, over := look()
		if over {
			w.reached.CompareAndSwap(nil, &limit)
			_ = unix.Kill(-1, unix.SIGKILL) // there may be none
		}
		_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &after)
		wait = max(interval, 10*time.Duration(after.Nano()-before.Nano()))
	}
}

// describeBytes writes a size as it is in a limit.
func describeBytes(n int64) string {
	switch {
	case n%(1<<30) == 0:
		return fmt.Sprintf("%d GiB", n>>30)
	case n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d bytes", n)
}

// usedMemory is what all processes but this one have of their own, and what is
// in file systems in memory.
func usedMemory() int64 {
	names, err := os.ReadDir("/proc")
	if err != nil {
		return 0
	}
	var pages int64
	for _, e := range names {
		if pid, err := strconv.Atoi(e.Name()); err != nil || pid == 1 {
			continue
		}
		text, err := os.ReadFile("/proc/" + e.Name() + "/statm")
		if err != nil {
			continue // it has ended
		}
		// In pages: size, resident, and what of that is shared with files.
		f := strings.Fields(string(text))
		if len(f) > 2 {
			resident, _ := strconv.ParseInt(f[1], 10, 64)
			shared, _ := strconv.ParseInt(f[2], 10, 64)
			pages += resident - shared
		}
	}
	used := pages * int64(os.Getpagesize())
	for _, dir := range []string{"/dev/shm", "/tmp"} {
		var st unix.Statfs_t
		if unix.Statfs(dir, &st) == nil && st.Type == unix.TMPFS_MAGIC {
			used += int64(st.Blocks-st.Bfree) * st.Bsize
		}
	}
	return used
}

// usedDisk is what a directory and all below it have on disk, in bytes.
func usedDisk(dir int) int64 { return usedDiskTo(dir, maxOpen) }

// usedDiskTo does so to some depth: deeper than any path there is little.
func usedDiskTo(dir, depth int) int64 {
	names, err := readNames(dir)
	if err != nil {
		return 0
	}
	var used int64
	for _, name := range names {
		var st unix.Stat_t
		if unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
			continue
		}
		used += st.Blocks * 512
		if st.Mode&unix.S_IFMT != unix.S_IFDIR || depth == 0 {
			continue
		}
		if sub, err := openDir(dir, name); err == nil {
			used += usedDiskTo(sub, depth-1)
			unix.Close(sub)
		}
	}
	return used
}
