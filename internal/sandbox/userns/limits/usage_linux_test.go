//go:build amd64 || arm64

package limits

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/internal/sandbox/userns/procfs"
)

// TestStatus: text that lacks the expected numbers is an error, not zero.
func TestStatus(t *testing.T) {
	const rest = "Threads:\t2\n"
	for name, c := range map[string]struct {
		text string
		want status
		ok   bool
	}{
		"a process": {"Name:\tx\nFDSize:\t64\nVmSize:\t    8 kB\nRssAnon:\t  3 kB\nRssShmem:\t 1 kB\nVmPTE:\t 2 kB\nVmSwap:\t 1 kB\nSeccomp_filters:\t1\n" + rest,
			status{alive: true, private: 4 << 10, shared: 1 << 10, pageTables: 2 << 10, size: 8 << 10, threads: 2, numbers: 64, filters: 1}, true},
		"one that has ended":  {"FDSize:\t0\n" + rest, status{threads: 2}, true},
		"one that is going":   {"FDSize:\t0\nThreads:\t0\n", status{}, true},
		"no number":           {"RssAnon:\tmany kB\n" + rest, status{}, false},
		"a negative one":      {"RssAnon:\t-1 kB\n" + rest, status{}, false},
		"one that is too big": {"RssAnon:\t99999999999999999999 kB\n" + rest, status{}, false},
		"no line of threads":  {"RssAnon:\t1 kB\n", status{}, false},
		"nothing":             {"", status{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "status"), []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := statusOf(dir)
			if (err == nil) != c.ok || c.ok && got != c.want {
				t.Errorf("%s: %+v, %v; want %+v", name, got, err, c.want)
			}
		})
	}
	if _, err := statusOf(filepath.Join(t.TempDir(), "none")); !procfs.Gone(err) {
		t.Errorf("no such process: %v", err)
	}
}

// TestTables: the same holds for tables in /proc, except for those that a kernel does not
// have.
func TestTables(t *testing.T) {
	for text, want := range map[string]int64{
		"words 1\n1 2\n3 4\n": 6, "words\n": 0, "": 0, "words\n1\n": -1, "words\n1 x\n": -1,
	} {
		name := filepath.Join(t.TempDir(), "table")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var sum int64
		err := eachRow(name, 2, func(row []int64) { sum += row[1] })
		if err != nil {
			sum = -1
		}
		if sum != want {
			t.Errorf("%q: %d, %v; want %d", text, sum, err, want)
		}
	}
	if err := eachRow(filepath.Join(t.TempDir(), "none"), 2, nil); err != nil {
		t.Errorf("no table: %v", err)
	}
}

// TestUnlessEnded: what cannot be looked at counts as nothing only if it has ended.
func TestUnlessEnded(t *testing.T) {
	for err, want := range map[error]error{
		nil: nil, unix.ENOENT: nil, unix.ESRCH: nil, unix.EMFILE: unix.EMFILE, unix.EACCES: unix.EACCES, unix.ENOMEM: unix.ENOMEM,
	} {
		if got := unlessEnded("/proc/self", err); !errors.Is(got, want) {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
	}
	if err := unlessEnded("/proc/0", unix.EACCES); err != nil {
		t.Errorf("of a task that has ended: %v", err)
	}
}
