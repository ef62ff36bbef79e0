package sandboxtest

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/varve-image/varve/tree"
)

var (
	probeOnce           sync.Once
	probeDir, probeFile string
	errProbe            error
)

// Main runs tests and removes what the suite has made. TestMain calls it.
func Main(m *testing.M) int {
	code := m.Run()
	if probeDir != "" {
		os.RemoveAll(probeDir)
	}
	return code
}

// ProbeVariable is the environment variable that names the program if it has been built
// already.
const ProbeVariable = "VARVE_TEST_PROBE"

// Probe returns the entry /bin/probe: the program of package probe, static and built once.
func Probe(t testing.TB) *tree.Entry {
	t.Helper()
	probeOnce.Do(func() {
		if probeFile = os.Getenv(ProbeVariable); probeFile != "" {
			return
		}
		if probeDir, errProbe = os.MkdirTemp("", "varve-probe-"); errProbe != nil {
			return
		}
		if errProbe = os.Chmod(probeDir, 0o755); errProbe != nil { // other users run it too
			return
		}
		probeFile = filepath.Join(probeDir, "probe")
		cmd := exec.Command("go", "build", "-o", probeFile, "github.com/varve-image/varve/internal/sandbox/sandboxtest/probe")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		cmd.Stderr = os.Stderr
		errProbe = cmd.Run()
	})
	if errProbe != nil {
		t.Fatalf("build the probe: %v", errProbe)
	}
	st, err := os.Stat(probeFile)
	if err != nil {
		t.Fatal(err)
	}
	return &tree.Entry{Path: "bin/probe", Type: tree.Regular, Mode: 0o755, Size: st.Size(), Source: probeFile,
		Content: tree.OpenFunc(func() (io.ReadCloser, error) { return os.Open(probeFile) })}
}
