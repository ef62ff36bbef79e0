// Package testtools says which outside programs and privileges a test needs.
//
// Guarantees:
//
//   - If something is missing, the test is skipped with a message that starts
//     with "missing engine: ", which the suite's summary counts and names.
//   - With CI=true in the environment it fails instead: a run that claims to
//     have tested everything has done so.
//
// Non-goals: installing anything. hack/install-test-deps.sh does that.
//
// Only tests import this package.
package testtools

import (
	"os"
	"os/exec"
	"testing"
)

// Missing is the beginning of the message of every such skip.
const Missing = "missing engine: "

// Need returns the absolute path of the program called tool. Without it the
// test is skipped, or fails under CI=true.
func Need(t testing.TB, tool string) string {
	t.Helper()
	path, err := exec.LookPath(tool)
	if err != nil {
		Lack(t, "%s is not installed", tool)
	}
	return path
}

// NeedRoot skips the test unless it runs as root, or fails it under CI=true.
func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		Lack(t, "root (this test runs as user %d)", os.Geteuid())
	}
}

// Lack ends the test because something outside the repository is missing: as
// skipped, or as failed under CI=true.
func Lack(t testing.TB, format string, args ...any) {
	t.Helper()
	if InCI() {
		t.Fatalf(Missing+format, args...)
	}
	t.Skipf(Missing+format, args...)
}

// InCI reports whether a missing engine is a failure.
func InCI() bool { return os.Getenv("CI") == "true" }
