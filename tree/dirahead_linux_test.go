package tree_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/varve-image/varve/tree"
)

// wideTree makes directories in directories, some with more names than are looked at in a row, and
// returns the paths of all entries in order.
func wideTree(t *testing.T) (root string, want []string) {
	t.Helper()
	root = t.TempDir()
	want = []string{"."}
	for i := range 12 {
		for j := range 5 {
			dir := fmt.Sprintf("d-%02d/e-%d", i, j)
			if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
				t.Fatal(err)
			}
			if j == 0 {
				want = append(want, filepath.Dir(dir))
			}
			want = append(want, dir)
			for k := range 200 * (i % 3) / (j + 1) {
				name := fmt.Sprintf("%s/f-%03d", dir, k)
				if err := os.WriteFile(filepath.Join(root, name), nil, 0o644); err != nil {
					t.Fatal(err)
				}
				want = append(want, name)
			}
		}
	}
	slices.SortFunc(want, tree.Compare)
	return root, want
}

// openUnder returns how many descriptors lead to root or below it.
func openUnder(t *testing.T, root string) (n int) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(to, root) {
			n++
		}
	}
	return n
}

// TestLookAhead: however many goroutines look ahead and wherever the receiver stops, entries come
// in order and nothing stays open.
func TestLookAhead(t *testing.T) {
	root, want := wideTree(t)
	for _, processors := range []int{1, 2, 8} {
		t.Run(fmt.Sprint(processors), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
			for _, stop := range []int{1, 2, 3, 70, 500, len(want) - 1, len(want)} {
				var got []string
				most := 0
				for e, err := range tree.FromDir(root, tree.DirOptions{}) {
					if err != nil {
						t.Fatal(err)
					}
					if got = append(got, e.Path); len(got)%200 == 0 {
						most = max(most, openUnder(t, root))
					}
					if len(got) == stop {
						break
					}
				}
				if !slices.Equal(got, want[:stop]) {
					t.Errorf("the first %d entries are others, or in another order", stop)
				}
				if n := openUnder(t, root); n > 0 || most > 45 {
					t.Errorf("up to %d directories were open, and %d are after %d entries", most, n, stop)
				}
			}
		})
	}
}

// TestLookAheadFails: an error comes when it is its entry's turn.
func TestLookAheadFails(t *testing.T) {
	root, want := wideTree(t)
	fifo := "d-07/e-2/f-010x"
	if err := unix.Mkfifo(filepath.Join(root, fifo), 0o644); err != nil {
		t.Fatal(err)
	}
	before, _ := slices.BinarySearchFunc(want, fifo, tree.Compare)
	n := 0
	for _, err := range tree.FromDir(root, tree.DirOptions{}) {
		if err != nil {
			if !strings.Contains(err.Error(), fifo) || !strings.Contains(err.Error(), "FIFO") || n != before {
				t.Errorf("after %d entries, want %d: %v", n, before, err)
			}
			n = -1
			break
		}
		n++
	}
	if open := openUnder(t, root); n != -1 || open > 0 {
		t.Errorf("no error after %d entries, or %d directories are open", n, open)
	}
}
