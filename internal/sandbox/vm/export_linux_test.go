//go:build amd64

package vm

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/varve-image/varve/internal/testtools"
)

// NeedMachine ends the test where the machine lacks what a virtual machine needs.
func NeedMachine(t testing.TB) {
	t.Helper()
	testtools.Need(t, "qemu-system-x86_64")
	if _, err := exec.LookPath("/usr/sbin/mke2fs"); err != nil {
		testtools.Need(t, "mke2fs")
	}
	if kernels, _ := filepath.Glob("/boot/vmlinuz-*"); len(kernels) == 0 {
		testtools.Lack(t, "there is no kernel in /boot")
	}
}
