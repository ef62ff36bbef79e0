//go:build amd64 || arm64

package userns

import (
	"bufio"
	"bytes"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// What all processes but this one use. What cannot be seen is no more than
// what a process has in flight to another, and deleted files of which nothing
// is open but their mappings.

// usedMemory is what the processes have in memory, in bytes. Where that looks to be
// over a limit, it is counted exactly, which takes longer: what is common to
// several processes once.
func usedMemory(limit int64) int64 {
	files := tmpfsUsed() + segmentsUsed()
	for f := range deletedFiles() {
		if f.memory {
			files += f.size
		}
	}
	private, shared := sumProcesses("status", "RssAnon:", "VmSwap:"), sumProcesses("status", "RssShmem:")
	// What is shared may be mapped files that are counted already.
	if private+max(shared, files) <= limit {
		return private + max(shared, files)
	}
	exact := sumProcesses("smaps_rollup", "Pss_Anon:", "SwapPss:")
	if exact == 0 { // the kernel does not tell
		exact = private
	}
	if s := sumProcesses("smaps_rollup", "Pss_Shmem:"); s > 0 {
		shared = s
	}
	return exact + max(shared, files)
}

// sumProcesses adds up fields, which are in kB, of a file that each process
// has in /proc.
func sumProcesses(file string, fields ...string) int64 {
	var sum int64
	for _, pid := range processes() {
		text, err := os.ReadFile("/proc/" + pid + "/" + file)
		if err != nil {
			continue // it has ended
		}
		for line := range bytes.Lines(text) {
			for _, field := range fields {
				if value, ok := bytes.CutPrefix(line, []byte(field)); ok {
					n, _ := strconv.ParseInt(string(bytes.TrimSuffix(bytes.TrimSpace(value), []byte(" kB"))), 10, 64)
					sum += n << 10
				}
			}
		}
	}
	return sum
}

// processes are the names in /proc of all processes but this one.
func processes() []string {
	names, err := readNamesOf("/proc")
	if err != nil {
		return nil
	}
	var pids []string
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil && pid != 1 {
			pids = append(pids, name)
		}
	}
	return pids
}

func readNamesOf(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// memoryDirs may be file systems in memory.
var memoryDirs = []string{"/dev/shm", "/tmp"}

// tmpfsUsed is what files with names have in memory.
func tmpfsUsed() int64 {
	var used int64
	for _, dir := range memoryDirs {
		var st unix.Statfs_t
		if unix.Statfs(dir, &st) == nil && st.Type == unix.TMPFS_MAGIC {
			used += int64(st.Blocks-st.Bfree) * st.Bsize
		}
	}
	return used
}

// segmentsUsed is what segments of System V shared memory have.
func segmentsUsed() int64 {
	f, err := os.Open("/proc/sysvipc/shm")
	if err != nil {
		return 0
	}
	defer f.Close()
	var used int64
	for lines := bufio.NewScanner(f); lines.Scan(); {
		// The last two of proc_sysvipc(5)'s fields: what is in memory, and in swap.
		if f := strings.Fields(lines.Text()); len(f) >= 16 {
			for _, field := range f[14:16] {
				n, _ := strconv.ParseInt(field, 10, 64) // the first line has none
				used += n
			}
		}
	}
	return used
}

// usedDeleted is what deleted files have on disk, in bytes.
func usedDeleted() int64 {
	var used int64
	for f := range deletedFiles() {
		if !f.memory {
			used += f.size
		}
	}
	return used
}

// deletedFile is a file that is open and has no name.
type deletedFile struct {
	dev, ino uint64
	size     int64 // as stored
	memory   bool  // as opposed to disk
}

// deletedFiles finds those of all processes.
func deletedFiles() map[deletedFile]bool {
	counted := map[uint64]bool{} // by tmpfsUsed
	for _, dir := range memoryDirs {
		var st unix.Stat_t
		if unix.Stat(dir, &st) == nil {
			counted[st.Dev] = true
		}
	}
	found := map[deletedFile]bool{}
	for _, pid := range processes() {
		dir := "/proc/" + pid + "/fd"
		names, _ := readNamesOf(dir) // none if it has ended
		for _, name := range names {
			var st unix.Stat_t
			var fs unix.Statfs_t
			file := dir + "/" + name
			if unix.Stat(file, &st) != nil || st.Nlink > 0 || st.Mode&unix.S_IFMT != unix.S_IFREG || unix.Statfs(file, &fs) != nil {
				continue
			}
			f := deletedFile{st.Dev, st.Ino, st.Blocks * 512, fs.Type == unix.TMPFS_MAGIC || fs.Type == unix.HUGETLBFS_MAGIC}
			if !f.memory || !counted[st.Dev] {
				found[f] = true
			}
		}
	}
	return found
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
