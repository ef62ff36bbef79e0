package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// memories are the ways to use memory so that about mib MiB count.
var memories = map[string]func(mib int) error{
	"private":     private,
	"shared":      shared,
	"memfd":       fillMemfd,
	"leaderless":  leaderless,
	"segments":    fillSegments,
	"maps":        maps,
	"stacks":      stacks,
	"tables":      pageTables,
	"dropped":     dropped,
	"trimmed":     trimmed,
	"only mapped": onlyMapped,
	"program":     program,
	"connected":   connected,
	"locked away": lockedAway,

	"empty":       emptyFiles,
	"temporary":   emptyTemporary,
	"messages":    messages,
	"semaphores":  semaphores,
	"locks":       locks,
	"timers":      timers,
	"filters":     filters,
	"terminals":   terminals,
	"descriptors": descriptors,
	"numbers":     numbers,
	"watches":     watches,
	"events":      events,
	"polls":       polls,
	"information": information,

	"pipes":        pipes,
	"pairs":        pairs,
	"hung up":      hungUp,
	"datagrams":    datagrams,
	"loopback":     loopback,
	"udp":          udp,
	"netlink":      netlink,
	"passed":       passed,
	"passed twice": passedTwice,
	"not accepted": notAccepted,
	"passed on":    passedOn,
}

// memory uses the given number of MiB in a way, and keeps them.
func memory(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	use, ok := memories[args[1]]
	if !ok {
		return fmt.Errorf("no way %q", args[1])
	}
	if err := use(n); err != nil {
		return err
	}
	stay()
	return nil
}

// kept holds what lives as long as the process.
var kept []any

func stay() {
	fmt.Println("used")
	time.Sleep(time.Hour)
	fmt.Print(len(kept))
}

func private(mib int) error {
	data := make([]byte, mib<<20)
	fill(data)
	kept = append(kept, data)
	return nil
}

func shared(mib int) error {
	data, err := unix.Mmap(-1, 0, mib<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err == nil {
		fill(data)
	}
	return err
}

func fill(data []byte) {
	for i := 0; i < len(data); i += 4096 {
		data[i] = 1
	}
}

// The first thread belongs to main alone.
func init() { runtime.LockOSThread() }

// leaderless uses memory after the process's first thread has ended.
func leaderless(n int) error {
	data, err := unix.Mmap(-1, 0, n<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return err
	}
	go func() {
		time.Sleep(200 * time.Millisecond)
		fill(data)
		time.Sleep(time.Hour)
	}()
	_, _, err = unix.Syscall(unix.SYS_EXIT, 0, 0, 0)
	return err
}

// fillMemfd writes to files without a name, of 1 MiB each.
func fillMemfd(n int) error {
	data := make([]byte, 1<<20)
	for range n {
		fd, err := unix.MemfdCreate("", 0)
		if err != nil {
			return err
		}
		if _, err := unix.Write(fd, data); err != nil {
			return err
		}
	}
	return nil
}

// fillSegments writes to segments of System V shared memory of 1 MiB each, and leaves them.
func fillSegments(n int) error {
	for range n {
		id, err := unix.SysvShmGet(unix.IPC_PRIVATE, 1<<20, unix.IPC_CREAT|0o600)
		if err != nil {
			return err
		}
		data, err := unix.SysvShmAttach(id, 0, 0)
		if err != nil {
			return err
		}
		fill(data)
		if err := unix.SysvShmDetach(data); err != nil {
			return err
		}
	}
	return nil
}

// pageTables reads from places that each need a page table of its own.
func pageTables(mib int) error {
	const span = 2 << 20
	n := mib << 20 / os.Getpagesize()
	data, err := unix.Mmap(-1, 0, n*span, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return err
	}
	if err := unix.Madvise(data, unix.MADV_NOHUGEPAGE); err != nil {
		return err
	}
	sum := 0
	for i := range n {
		sum += int(data[i*span])
	}
	kept = append(kept, sum)
	return nil
}

// The least that the kernel keeps for one of each.
const (
	sizeMap        = 200
	sizeStack      = 16 << 10
	sizeInode      = 700
	sizeLock       = 192
	sizeTimer      = 300
	sizeWatch      = 256
	sizeDescriptor = 256
)

// maps makes so many mappings of one page that the kernel's records of them reach that
// size.
func maps(mib int) error {
	const most = 60_000 // for one process
	for left := mib << 20 / sizeMap; left > 0; left -= most {
		if err := again("map", strconv.Itoa(min(left, most))); err != nil {
			return err
		}
	}
	return nil
}

// mapPages makes the given number of mappings.
func mapPages(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	data, err := unix.Mmap(-1, 0, n*os.Getpagesize(), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return err
	}
	for i := 0; i < n; i += 2 {
		page := data[i*os.Getpagesize():][:os.Getpagesize()]
		if err := unix.Mprotect(page, unix.PROT_READ); err != nil {
			return err
		}
	}
	stay()
	return nil
}

// again runs this program once more, and waits until it has done its work.
func again(args ...string) error {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	_, err = out.Read(make([]byte, 1))
	return err
}

// stacks starts threads until their kernel stacks reach that size.
func stacks(mib int) error {
	for range min(mib<<20/sizeStack, 3800) { // more would be too many
		go func() {
			runtime.LockOSThread()
			var none unix.Timeval
			none.Sec = 3600
			_, _ = unix.Select(0, nil, nil, nil, &none)
		}()
	}
	time.Sleep(time.Hour)
	return nil
}

// numbers makes processes with large, empty tables of open files.
func numbers(mib int) error {
	for left := mib << 20; left > 0; {
		var limit unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			return err
		}
		if err := again("number", strconv.FormatUint(limit.Cur-1, 10)); err != nil {
			return err
		}
		left -= int(limit.Cur) * 8
	}
	return nil
}

func number(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	if err := unix.Dup2(0, n); err != nil {
		return err
	}
	stay()
	return nil
}

func init() {
	commands["map"] = mapPages
	commands["number"] = number
}
