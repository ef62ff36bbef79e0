//go:build amd64 || arm64

package limits

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox/userns/openat"
	"github.com/varve-image/varve/internal/sandbox/userns/procfs"
)

// What the kernel keeps, in bytes; upper limits, or nearly so.
const (
	costInode     = 1 << 10 // of a file in memory with attributes, as its file system counts
	costObject    = 1 << 10 // of System V
	costMessage   = 64      // without its text
	costSemaphore = 64
	costUndo      = 128       // of a set of semaphores in a process
	costUndoEach  = 2         // of a semaphore
	costTerminal  = 160 << 10 // with what waits in both directions
)

// addFiles adds the size of files in memory, with a name or open without one.
func (u *usage) addFiles(m *memoryUse) error {
	for _, dir := range u.tmpfs {
		var st unix.Statfs_t
		if err := unix.Fstatfs(dir, &st); err != nil {
			return fmt.Errorf("look at a file system in memory: %w", err)
		}
		m.files += int64(st.Blocks-st.Bfree) * st.Bsize
		m.kernel += int64(st.Files-st.Ffree) * costInode
	}
	return nil
}

// addSegments adds the size of System V shared memory segments: the last two fields of
// proc_sysvipc(5), in memory and in swap.
func (u *usage) addSegments(m *memoryUse) error {
	return eachRow("/proc/sysvipc/shm", 16, func(f []int64) {
		m.files += f[14] + f[15]
		m.kernel += costObject
	})
}

// addMessages adds the content of System V message queues.
func (u *usage) addMessages(m *memoryUse) error {
	return eachRow("/proc/sysvipc/msg", 5, func(f []int64) {
		bytes, number := f[3], f[4]
		m.kernel += bytes + number*costMessage + costObject
	})
}

// addSemaphores adds sets of System V semaphores, with their undo records in each process.
func (u *usage) addSemaphores(m *memoryUse) error {
	return eachRow("/proc/sysvipc/sem", 4, func(f []int64) {
		number := f[3]
		m.kernel += costObject + number*costSemaphore + m.processes*(costUndo+number*costUndoEach)
	})
}

// addTerminals adds terminals.
func (u *usage) addTerminals(m *memoryUse) error {
	names, err := openat.Names(u.terminals)
	m.kernel += int64(len(names)) * costTerminal
	return err
}

// eachRow calls a function with the numbers in each row of a table in /proc, which must
// have at least that many fields.
func eachRow(name string, fields int, visit func(row []int64)) error {
	row := make([]int64, fields)
	return eachLine(name, func(words []string) error {
		err := checkFields(name, words, fields)
		for i := range row {
			if err == nil {
				row[i], err = strconv.ParseInt(words[i], 10, 64)
			}
		}
		if err == nil {
			visit(row)
		}
		return err
	})
}

// eachLine calls a function with the words of each line of a file except the heading. The
// kernel may not have such a file.
func eachLine(name string, visit func(words []string) error) error {
	f, err := os.Open(name)
	if procfs.Gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for first := true; lines.Scan(); first = false {
		if !first {
			if err := visit(strings.Fields(lines.Text())); err != nil {
				return err
			}
		}
	}
	return lines.Err()
}

// checkFields checks that a line has enough fields.
func checkFields(name string, words []string, fields int) error {
	if len(words) < fields {
		return fmt.Errorf("%s: it has %q", name, words)
	}
	return nil
}

// readNumber reads a file that contains one or more numbers, and returns the last.
func readNumber(name string) (int64, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	words := strings.Fields(string(text))
	if len(words) == 0 {
		return 0, fmt.Errorf("%s is empty", name)
	}
	n, err := strconv.ParseInt(words[len(words)-1], 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s: it has %q", name, text)
	}
	return n, nil
}
