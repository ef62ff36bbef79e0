//go:build amd64 || arm64

package limits

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox/userns/procfs"
)

// What the kernel keeps, in bytes; upper limits, or nearly so.
const (
	costProcess = 16 << 10  // what its threads have in common
	costThread  = 32 << 10  // its stack, and everything else kept for it
	costPolled  = 160       // of a file that is waited for
	costMap     = 256       // of a mapping, with its part of the tree of mappings
	costNumber  = 9         // in a table of open files
	costFilter  = 256 << 10 // of system calls, of the greatest length
	maxFilters  = 4         // of that length
)

// status is what the kernel says about a process, in bytes or numbers.
type status struct {
	tid              int  // of a remaining thread
	alive            bool // it has memory, unlike one that has ended
	private, shared  int64
	pageTables, size int64
	threads          int64
	numbers          int64 // the size of its table of open files
	filters          int64
}

// statuses returns the status of all processes but this one, and whether some have ended
// since they were listed.
func statuses() (all []status, ended bool, err error) {
	pids, err := procfs.Processes()
	if err != nil {
		return nil, false, err
	}
	all = make([]status, 0, len(pids))
	for _, pid := range pids {
		s, err := statusOf(procfs.Dir(pid))
		s.tid = pid
		if err == nil && !s.alive && s.threads > 1 {
			s, err = statusOfThreads(pid, s)
		}
		if procfs.Gone(err) {
			ended = true
			continue
		}
		if err != nil {
			return nil, false, err
		}
		all = append(all, s)
	}
	return all, ended, nil
}

// statusOfThreads returns the status of a process whose first thread has ended while others
// have not.
func statusOfThreads(pid int, first status) (status, error) {
	tids, err := procfs.Numbers(procfs.Dir(pid) + "/task")
	if err != nil {
		return first, err
	}
	for _, tid := range tids {
		s, err := statusOf(procfs.Task(pid, tid))
		if err != nil && !procfs.Gone(err) {
			return first, err
		}
		if s.tid = tid; err == nil && s.alive {
			return s, nil
		}
	}
	return first, nil
}

// statusOf reads the status of a process or thread, whose directory is given.
func statusOf(dir string) (s status, err error) {
	name := dir + "/status"
	text, err := os.ReadFile(name)
	if err != nil {
		return s, err
	}
	told := false
	err = eachField(name, text, func(key string) *int64 {
		switch key {
		case "RssAnon", "VmSwap", "HugetlbPages":
			return &s.private
		case "RssShmem":
			return &s.shared
		case "VmPTE":
			return &s.pageTables
		case "VmSize":
			s.alive = true
			return &s.size
		case "Threads": // 0 while it is being removed
			told = true
			return &s.threads
		case "FDSize":
			return &s.numbers
		case "Seccomp_filters":
			return &s.filters
		}
		return nil
	})
	if err == nil && !told {
		err = fmt.Errorf("%s says nothing of threads", name)
	}
	return s, err
}

// eachField adds the numbers of a file of /proc, "Key: 5" or "Key: 5 kB", to where a
// function says that they belong, unless that is nil.
func eachField(name string, text []byte, where func(key string) *int64) error {
	for line := range bytes.Lines(text) {
		key, value, _ := bytes.Cut(line, []byte(":"))
		to := where(string(key))
		if to == nil {
			continue
		}
		number, isKB := bytes.CutSuffix(bytes.TrimSpace(value), []byte(" kB"))
		n, err := strconv.ParseInt(string(number), 10, 64)
		if err != nil || n < 0 {
			return fmt.Errorf("%s: it has %q", name, bytes.TrimSpace(line))
		}
		if isKB {
			n <<= 10
		}
		*to += n
	}
	return nil
}

// add adds what statuses say.
func (m *memoryUse) add(all []status) {
	m.processes = int64(len(all))
	for _, s := range all {
		m.private += s.private
		m.shared += s.shared
		m.kernel += s.pageTables + costProcess + s.threads*costThread + s.numbers*costNumber
	}
}

// exactly replaces private and shared by each process's share, so that memory that several
// have counts once.
func (m *memoryUse) exactly(all []status) error {
	var private, shared int64
	memories := distinct{kind: kcmpVM}
	for i := range all {
		s := &all[i]
		if !s.alive {
			continue
		}
		if !memories.add(s.tid) {
			m.kernel -= s.pageTables
			s.size = 0
			continue
		}
		p, c, err := rollup(s)
		m.ended = m.ended || procfs.Gone(err)
		if err != nil && !procfs.Gone(err) {
			return err
		}
		private, shared = private+p, shared+c
	}
	m.private, m.shared = private, shared
	return nil
}

// rollup returns a process's share of private and of shared memory, or all of it where the
// kernel does not report shares.
func rollup(s *status) (private, shared int64, err error) {
	name := procfs.Dir(s.tid) + "/smaps_rollup"
	text, err := os.ReadFile(name)
	if err != nil {
		if _, none := os.Stat("/proc/self/smaps_rollup"); none != nil {
			return s.private, s.shared, nil
		}
		return 0, 0, err
	}
	told := false
	err = eachField(name, text, func(key string) *int64 {
		switch key {
		case "Pss_Anon", "SwapPss", "Private_Hugetlb":
			told = told || key == "Pss_Anon"
			return &private
		case "Pss_Shmem", "Shared_Hugetlb":
			return &shared
		}
		return nil
	})
	if !told {
		return s.private, s.shared, err
	}
	return private, shared, err
}

// mostOfThreads returns the most that addThreads may add, where a process may have that
// many open files.
func mostOfThreads(all []status, files uint64) (most int64) {
	for _, s := range all {
		most += s.threads * (int64(files)*costPolled + maxFilters*costFilter)
	}
	return most
}

// addThreads adds what each thread has of its own: filters, and what it needs while it
// waits for many files with poll or select.
func (u *usage) addThreads(m *memoryUse, all []status) error {
	for _, s := range all {
		tids, err := procfs.Numbers(procfs.Dir(s.tid) + "/task")
		if err != nil && !procfs.Gone(err) {
			return err
		}
		for _, tid := range tids {
			task := procfs.Task(s.tid, tid)
			one, err := statusOf(task)
			var files uint64
			if err == nil {
				files, err = u.polled(task)
			}
			if err != nil && !procfs.Gone(err) {
				return err
			}
			m.kernel += min(max(one.filters-u.filters, 0), maxFilters)*costFilter + int64(files)*costPolled
			if m.surelyOver() {
				return nil
			}
		}
	}
	return nil
}

// polled returns how many files a thread waits for.
func (u *usage) polled(task string) (uint64, error) {
	most := u.limits[unix.RLIMIT_NOFILE]
	number, arguments, err := callOfTask(task)
	switch {
	case errors.Is(err, unix.EPERM): // Yama forbids looking (ptrace_scope is 3)
		return usualFiles, nil
	case errors.Is(err, unix.EACCES): // only the machine's root may, as in eachCopy
		return most, nil
	case err != nil:
		return 0, unlessEnded(task, err)
	}
	at := filesArgument(number)
	if at == 0 { // it waits for something else
		return 0, nil
	}
	if err := checkFields(task, arguments, at); err != nil {
		return 0, err
	}
	files, err := strconv.ParseUint(arguments[at-1], 0, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: it has %q", task, arguments)
	}
	return min(files, most), nil
}

// callOfTask returns the call that a thread waits in, by its number and arguments. A
// running thread is in no call, which is -1.
func callOfTask(task string) (number int, arguments []string, err error) {
	text, err := os.ReadFile(task + "/syscall")
	if err != nil {
		return 0, nil, err
	}
	words := strings.Fields(string(text))
	if len(words) == 0 {
		return -1, nil, nil
	}
	if number, err = strconv.Atoi(words[0]); err != nil {
		return -1, nil, nil
	}
	return number, words[1:], nil
}

// mostMaps returns the largest possible size of the kernel's records of all mappings, where
// a process has at most number of them.
func mostMaps(all []status, number int64) (most int64) {
	for _, s := range all {
		most += min(s.size/int64(os.Getpagesize()), number) * costMap
	}
	return most
}

// countMaps returns their actual size, or some number over the limit.
func countMaps(all []status, limit int64) (sum int64, err error) {
	for _, s := range all {
		if s.size == 0 {
			continue
		}
		n, err := countLines(procfs.Dir(s.tid)+"/maps", math.MaxInt64)
		if err != nil && !procfs.Gone(err) {
			return 0, err
		}
		if sum += n * costMap; sum > limit {
			break
		}
	}
	return sum, nil
}

// countLines counts the lines of a file, up to a number; a missing file has none.
func countLines(name string, most int64) (int64, error) {
	n, _, err := measure(name, most)
	return n, err
}

// measure counts a file's lines like countLines, and their bytes as well.
func measure(name string, most int64) (n, size int64, err error) {
	f, err := os.Open(name)
	if procfs.Gone(err) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for n < most && lines.Scan() {
		n++
		size += int64(len(lines.Bytes())) + 1
	}
	return n, size, lines.Err()
}

// The kinds of kcmp(2).
const (
	kcmpVM    = 1
	kcmpFiles = 2
)

// distinct collects tasks that do not share something of a kind with each other, in the
// kernel's order.
type distinct struct {
	kind int
	tids []int
}

// add adds a task, unless it shares with one that is there. Where the kernel does not say,
// it counts as not shared.
func (d *distinct) add(tid int) bool {
	i, same := slices.BinarySearchFunc(d.tids, tid, func(there, tid int) int {
		order, _, e := unix.Syscall6(unix.SYS_KCMP, uintptr(there), uintptr(tid), uintptr(d.kind), 0, 0, 0)
		switch {
		case e == 0 && order == 0:
			return 0
		case e == 0 && order == 1:
			return -1
		}
		return 1
	})
	if !same {
		d.tids = slices.Insert(d.tids, i, tid)
	}
	return !same
}
