//go:build amd64 || arm64

package userns

import (
	"os"
	"path/filepath"
	"testing"
)

// TestOtherID: of the available ids, one is chosen that is not the kernel's 0.
func TestOtherID(t *testing.T) {
	for _, c := range []struct {
		ids    string // in the format of uid_map
		kernel int
		want   int // 0 means an error
	}{
		{"0 0 4294967295", 0, highHalf},
		{"0 0 65536", 0, 65535},
		{"0 0 2147483649", 0, highHalf},
		{"0 0 1", 0, 0},
		{"1000 0 1", 1000, 0},
		{"65534 0 1", 65534, 0},
		{"0 0 2", 0, 1},
		{"0 0 1\n1 100000 65536", 0, 65536},
		{"0 100000 65535\n65535 0 1", 65535, 65533},
		{"0 0 1\n65534 1 1", 0, 0},
		{"0 0 1\n65534 1 1\n7 8 1", 0, 7},
		{"", 0, 0},
		{"0 0", 0, 0},
	} {
		file := filepath.Join(t.TempDir(), "map")
		if err := os.WriteFile(file, []byte(c.ids), 0o644); err != nil {
			t.Fatal(err)
		}
		got, err := otherID(file, c.kernel)
		if (err != nil) != (c.want == 0) || got != c.want {
			t.Errorf("of %q, with the kernel's %d: %d, %v; want %d", c.ids, c.kernel, got, err, c.want)
		}
	}
}
