//go:build amd64 || arm64

package userns

import (
	"bufio"
	"bytes"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/sandbox"
)

// usage counts what all processes but this one use. It sees neither files without a
// name that a process has in flight to another or has only mapped, nor shared memory that
// nothing maps any more; and what is shared may be twice as much as is counted.
type usage struct {
	tree int    // the directory that is the tree, or its upper directory
	dev  uint64 // the tree's
	// tmpfs are file systems in memory that are the sandbox's own.
	tmpfs []string
}

func newUsage(root sandbox.Root, tree int) (*usage, error) {
	u := &usage{tree: tree, tmpfs: []string{"/dev/shm"}}
	if root == sandbox.HostTools {
		u.tmpfs = append(u.tmpfs, "/tmp") // elsewhere it is the tree's
	}
	var st unix.Stat_t
	err := unix.Fstat(tree, &st)
	u.dev = st.Dev
	return u, err
}

// memory is what the processes have in memory, in bytes. Where that looks to be
// over a limit, it is counted exactly, which takes longer: what is common to
// several processes once.
func (u *usage) memory(limit int64) int64 {
	files := u.tmpfsUsed() + segmentsUsed()
	private, shared := sumProcesses("status", "RssAnon:", "VmSwap:", "HugetlbPages:")<<10, sumProcesses("status", "RssShmem:")<<10
	// What is shared may be mapped files that are counted already. Open files are many.
	if private+max(shared, files) <= limit {
		files += u.deletedUsed(true)
	}
	if private+max(shared, files) <= limit {
		return private + max(shared, files)
	}
	exact := sumProcesses("smaps_rollup", "Pss_Anon:", "SwapPss:") << 10
	if exact == 0 { // the kernel does not tell
		exact = private
	}
	if s := sumProcesses("smaps_rollup", "Pss_Shmem:") << 10; s > 0 {
		shared = s
	}
	return exact + max(shared, files)
}

// threads is how many processes and threads there are.
func (u *usage) threads(int64) int64 { return sumProcesses("status", "Threads:") }

// sumProcesses adds up the numbers in fields of a file that each process has in
// /proc.
func sumProcesses(file string, fields ...string) int64 {
	var sum int64
	for _, pid := range processes() {
		dir := "/proc/" + pid
		n, found := sumFields(dir+"/"+file, fields)
		if !found { // its first thread may have ended, and others not
			tasks, _ := readNamesOf(dir + "/task") // none if it has ended too
			for _, tid := range tasks {
				if n, found = sumFields(dir+"/task/"+tid+"/"+file, fields); found {
					break
				}
			}
		}
		sum += n
	}
	return sum
}

// sumFields does so for one file, and tells whether it has any of the fields.
func sumFields(file string, fields []string) (sum int64, found bool) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, false // the process has ended
	}
	for line := range bytes.Lines(text) {
		for _, field := range fields {
			if value, ok := bytes.CutPrefix(line, []byte(field)); ok {
				n, _ := strconv.ParseInt(string(bytes.TrimSuffix(bytes.TrimSpace(value), []byte(" kB"))), 10, 64)
				sum, found = sum+n, true
			}
		}
	}
	return sum, found
}

// processes are the names in /proc of all processes but this one.
func processes() []string {
	names, err := readNamesOf("/proc")
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(names, func(name string) bool {
		pid, err := strconv.Atoi(name)
		return err != nil || pid == 1
	})
}

func readNamesOf(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// tmpfsUsed is what files with names have in memory.
func (u *usage) tmpfsUsed() int64 {
	var used int64
	for _, dir := range u.tmpfs {
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

// deletedFile is a file that is open and has no name.
type deletedFile struct {
	dev, ino uint64
	size     int64 // as stored
	memory   bool  // as opposed to disk
}

// deletedUsed is what deleted files have in memory, or on disk.
func (u *usage) deletedUsed(memory bool) int64 {
	var used int64
	for f := range u.deletedFiles() {
		if f.memory == memory {
			used += f.size
		}
	}
	return used
}

// deletedFiles finds those of all processes. Each thread may have files of its own.
func (u *usage) deletedFiles() map[deletedFile]bool {
	counted := map[uint64]bool{} // by tmpfsUsed
	for _, dir := range u.tmpfs {
		var st unix.Stat_t
		if unix.Stat(dir, &st) == nil {
			counted[st.Dev] = true
		}
	}
	found := map[deletedFile]bool{}
	for _, pid := range processes() {
		tasks, _ := readNamesOf("/proc/" + pid + "/task") // none if it has ended
		for _, tid := range tasks {
			dir := "/proc/" + pid + "/task/" + tid + "/fd"
			names, _ := readNamesOf(dir)
			for _, name := range names {
				if f, ok := u.deletedFile(dir + "/" + name); ok && !(f.memory && counted[f.dev]) {
					found[f] = true
				}
			}
		}
	}
	return found
}

func (u *usage) deletedFile(name string) (f deletedFile, ok bool) {
	var st unix.Stat_t
	var fs unix.Statfs_t
	if unix.Stat(name, &st) != nil || st.Nlink > 0 || st.Mode&unix.S_IFMT != unix.S_IFREG || unix.Statfs(name, &fs) != nil {
		return f, false
	}
	inMemory := fs.Type == unix.TMPFS_MAGIC || fs.Type == unix.HUGETLBFS_MAGIC
	return deletedFile{st.Dev, st.Ino, st.Blocks * 512, inMemory && st.Dev != u.dev}, true
}

// disk is what the tree has on disk, and what deleted files have, in bytes.
func (u *usage) disk(int64) int64 {
	d := diskUse{links: map[uint64]bool{}}
	d.below(u.tree, 0)
	return d.used + u.deletedUsed(false)
}

// diskUse adds up what is on disk.
type diskUse struct {
	links map[uint64]bool // files with several names that are counted
	used  int64
}

// maxDepth is how deep directories can be that are looked into. What is deeper is as much as
// there can be: nothing could be collected from there.
const maxDepth = 20_000

func (d *diskUse) below(dir, depth int) {
	names, err := readNames(dir)
	if err != nil {
		return
	}
	for _, name := range names {
		var st unix.Stat_t
		if unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil || d.links[st.Ino] {
			continue
		}
		d.used += st.Blocks * 512
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			if st.Nlink > 1 {
				d.links[st.Ino] = true
			}
			continue
		}
		sub, err := openDir(dir, name)
		switch {
		case err == unix.EMFILE, depth == maxDepth:
			d.used += 1 << 60
		case err == nil:
			d.below(sub, depth+1)
		}
		if err == nil {
			unix.Close(sub)
		}
	}
}
