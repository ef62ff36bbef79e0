package dockertools

import (
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/nixstore/drv"
)

// TestShellMachine: an image is for the derivation's machine, and one that has no
// name in Go is refused: left out, it would be the machine that builds.
func TestShellMachine(t *testing.T) {
	for system, want := range map[string]string{
		"x86_64-linux": "amd64", "aarch64-linux": "arm64", "armv7l-linux": "arm", "riscv64-linux": "riscv64", "i686-linux": "386",
		"vax-linux": `got "vax"`,
	} {
		s := &shell{ShellOptions: ShellOptions{Shell: "/nix/store/x/bin/bash"}, files: map[string]string{}, storeDir: "/nix/store", drv: &drv.Derivation{System: system}}
		parsed, err := s.spec()
		switch {
		case err != nil && !(strings.Contains(err.Error(), "architecture: ") && strings.Contains(err.Error(), want)):
			t.Errorf("%s: error %v, want one of the architecture with %q", system, err, want)
		case err == nil && parsed.Architecture != want:
			t.Errorf("%s: the image is for %q, want %q", system, parsed.Architecture, want)
		}
	}
}
