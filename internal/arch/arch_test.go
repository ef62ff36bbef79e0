package arch

import (
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestLookup(t *testing.T) {
	for _, c := range []struct {
		name, goarch, variant string
		ok                    bool
	}{
		{"amd64", "amd64", "", true}, {"x86_64", "amd64", "", true}, {"x64", "amd64", "", true},
		{"arm64", "arm64", "", true}, {"aarch64", "arm64", "", true},
		{"arm", "arm", "", true}, {"armhf", "arm", "v7", true}, {"armv7a", "arm", "v7", true},
		{"armel", "arm", "v6", true}, {"armv5l", "arm", "v5", true}, {"armv5tel", "arm", "v5", true},
		{"i486", "386", "", true}, {"ppc64el", "ppc64le", "", true}, {"mips64el", "mips64le", "", true},
		{"riscv64", "riscv64", "", true}, {"s390x", "s390x", "", true},
		{"", "", "", false}, {"vax", "", "", false}, {"X86_64", "", "", false}, {"wasm", "", "", false},
	} {
		if goarch, variant, ok := Lookup(c.name); goarch != c.goarch || variant != c.variant || ok != c.ok {
			t.Errorf("%q: %q %q %t", c.name, goarch, variant, ok)
		}
	}
	if _, _, ok := Lookup(runtime.GOARCH); !ok {
		t.Errorf("this machine, %s, is not known", runtime.GOARCH)
	}
}

// TestTable: every name stands for a machine that Go knows, and none of Go's names
// for another.
func TestTable(t *testing.T) {
	if all := All(); !slices.IsSorted(all) {
		t.Errorf("%q is not sorted", all)
	}
	for _, name := range Aliases() {
		if goarch, _, ok := Lookup(name); !ok || !slices.Contains(All(), goarch) || slices.Contains(All(), name) {
			t.Errorf("%q is %q", name, goarch)
		}
	}
}

// TestNix: the Nix functions name machines as varve does. What is not in their table is
// passed on unchanged.
func TestNix(t *testing.T) {
	data, err := os.ReadFile("../../nix/lib.nix")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(data), "goArch =")
	table, _, found := strings.Cut(table, ".${cpu} or cpu")
	entries := regexp.MustCompile(`(\w+) = "(\w+)";`).FindAllStringSubmatch(table, -1)
	if !found || len(entries) == 0 {
		t.Fatal("nix/lib.nix has no table of machines")
	}
	inNix := map[string]string{}
	for _, m := range entries {
		inNix[m[1]] = m[2]
		if got, _, _ := Lookup(m[1]); got != m[2] {
			t.Errorf("%s is %q, and %q in Nix", m[1], got, m[2])
		}
	}
	// Nix's names of machines for which Go has other names: lib/systems/parse.nix of nixpkgs.
	for _, cpu := range strings.Fields("i386 i486 i586 i686 x86_64 aarch64 armv5tel armv6l armv7a armv7l mipsel mips64el powerpc64 powerpc64le loongarch64") {
		if inNix[cpu] == "" {
			t.Errorf("nix/lib.nix does not know %s", cpu)
		}
	}
}
