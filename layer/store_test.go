package layer_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/varve-image/varve/internal/testtools"
	"github.com/varve-image/varve/layer"
)

// tarNames lists the entries of a tar.
func tarNames(t *testing.T, data []byte) []string {
	t.Helper()
	var names []string
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		hdr, err := r.Next()
		if err == io.EOF {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, strings.TrimSuffix(hdr.Name, "/"))
	}
}

// pythonSorted sorts paths as nixpkgs' streamer does.
func pythonSorted(t *testing.T, paths []string) []string {
	t.Helper()
	var coded []string
	for _, p := range paths {
		coded = append(coded, hex.EncodeToString([]byte(p)))
	}
	input, err := json.Marshal(coded)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(testtools.Need(t, "python3"), "testdata/pythonsort.py")
	cmd.Stdin = bytes.NewReader(input)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("python: %v", err)
	}
	var sorted []string
	for line := range strings.Lines(string(out)) {
		p, err := hex.DecodeString(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		sorted = append(sorted, string(p))
	}
	return sorted
}

// TestStoreOrderIsPythons: bytes that are not UTF-8 sort between U+DC7F and
// U+DD00, before some characters and after others.
func TestStoreOrderIsPythons(t *testing.T) {
	root := t.TempDir()
	const store = "/nix/store/7j4yhx22kwg9xyaijpa88f9dwy816r79-x"
	for _, name := range []string{
		"\xff", "😀", "\ue000", "\ufffd", "\ufffdx", "\xffx", "é", "\xe9", "\xc3", "\xc3x", "\xe2\x82", "\xe2\x82\xac", "\xed\xa0\x80",
		"a", "a b", "a-b", "a.b", "ab", "A", "~", "_", "\x01", "new\nline", "\x7f", "\u0080",
	} {
		for _, path := range []string{name, name + "-dir/" + name, "sub/" + name} {
			path = filepath.Join(root, store, path)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Skipf("the file system does not hold the name %q: %v", path, err)
			}
			if err := os.WriteFile(path, nil, 0o644); err != nil {
				t.Skipf("the file system does not hold the name %q: %v", path, err)
			}
		}
	}
	l := layer.Store([]string{store}, layer.StoreOptions{Root: root, ModTime: 1})
	data := writeLayer(t, l)
	wantSize(t, l, len(data))
	got := tarNames(t, data)
	if want := pythonSorted(t, got); !slices.Equal(got, want) {
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("entry %d is %q, Python has %q", i, got[i], want[i])
			}
		}
		t.Fatalf("%d entries, Python has %d", len(got), len(want))
	}
}

// TestSurroundingsDoNotShow: neither the number of cores, the time zone nor
// the umask.
func TestSurroundingsDoNotShow(t *testing.T) {
	root := t.TempDir()
	path := filepath.Join(root, "nix/store/a/file")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, noise(3<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	var first layer.Info
	for i, procs := range []int{1, 2, 8} {
		t.Setenv("TZ", []string{"UTC", "Asia/Kolkata", "America/New_York"}[i])
		before := runtime.GOMAXPROCS(procs)
		mask := syscall.Umask([]int{0, 0o22, 0o77}[i])
		info, err := layer.Store([]string{"/nix/store/a"}, layer.StoreOptions{Root: root, ModTime: 1}).Info(context.Background())
		syscall.Umask(mask)
		runtime.GOMAXPROCS(before)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = info
		}
		if info != first {
			t.Errorf("with %d cores the layer is %v, before it was %v", procs, info, first)
		}
	}
}

// TestStoreErrors name the path as it is on disk.
func TestStoreErrors(t *testing.T) {
	root := t.TempDir()
	l := layer.Store([]string{"/nix/store/missing"}, layer.StoreOptions{Root: root})
	_, err := l.Info(context.Background())
	wantErrorNaming(t, err, root+"/nix/store/missing")
	if !os.IsNotExist(err) && !strings.Contains(err.Error(), "no such file") {
		t.Errorf("the error is %v", err)
	}
}
