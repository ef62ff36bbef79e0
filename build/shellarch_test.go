package build

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestGoArchitectures: the Nix functions call machines as varve shell does.
func TestGoArchitectures(t *testing.T) {
	data, err := os.ReadFile("../nix/lib.nix")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(data), "goArch =")
	table, _, found := strings.Cut(table, ".${cpu} or cpu")
	if !found {
		t.Fatal("nix/lib.nix has no table of machines")
	}
	inNix := map[string]string{}
	for _, m := range regexp.MustCompile(`(\w+) = "(\w+)";`).FindAllStringSubmatch(table, -1) {
		inNix[m[1]] = m[2]
		if got := goArchitectures[m[1]]; got != m[2] {
			t.Errorf("%s is %q, and %q in Nix", m[1], got, m[2])
		}
	}
	for machine, name := range goArchitectures {
		if inNix[machine] == "" && machine != name {
			t.Errorf("%s is %q, and itself in Nix", machine, name)
		}
	}
}
