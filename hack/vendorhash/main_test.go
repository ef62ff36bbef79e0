package main

import (
	"encoding/json"
	"go/version"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestVendorHash: whoever changes go.mod has to change the Nix expression.
func TestVendorHash(t *testing.T) {
	data, err := os.ReadFile("../../nix/package.nix")
	if err != nil {
		t.Fatal(err)
	}
	found := line.FindSubmatch(data)
	if found == nil {
		t.Fatal("nix/package.nix has no vendorHash")
	}
	want, err := vendorHash(t.Context(), "../..")
	if err != nil {
		t.Fatal(err)
	}
	if got := string(found[1]); got != want {
		t.Errorf("nix/package.nix has vendorHash %q, and go mod vendor comes to %q: make vendor-hash", got, want)
	}
}

// TestGoVersion: nix/package.nix asks for the same Go as go.mod, and go.mod for the
// oldest with which its modules can be built.
func TestGoVersion(t *testing.T) {
	var module struct{ GoVersion string }
	text, err := exec.CommandContext(t.Context(), "go", "list", "-C", "../..", "-m", "-json").Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &module); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile("../../nix/package.nix")
	if err != nil {
		t.Fatal(err)
	}
	if want := `goVersion = "` + strings.TrimSuffix(module.GoVersion, ".0") + `";`; !strings.Contains(string(data), want) {
		t.Errorf("go.mod asks for Go %s, and nix/package.nix does not have %q", module.GoVersion, want)
	}
	text, err = exec.CommandContext(t.Context(), "go", "list", "-C", "../..", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.GoVersion}}{{end}}{{end}}", "./cmd/varve").Output()
	if err != nil {
		t.Fatal(err)
	}
	needed := slices.MaxFunc(strings.Fields(string(text)), func(a, b string) int { return version.Compare("go"+a, "go"+b) })
	if version.Compare("go"+module.GoVersion, "go"+needed) > 0 {
		t.Errorf("go.mod asks for Go %s, and its modules for %s at most: does the code need more?", module.GoVersion, needed)
	}
}

func TestUpdate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "package.nix")
	for _, c := range []struct{ in, out string }{
		{"a\n  vendorHash = \"old\";\nb\n", "a\n  vendorHash = \"new\";\nb\n"},
		{"nothing", ""},
		{"vendorHash = \"\"; vendorHash = \"\";", ""},
	} {
		if err := os.WriteFile(file, []byte(c.in), 0o644); err != nil {
			t.Fatal(err)
		}
		err := update(file, "new")
		got, readErr := os.ReadFile(file)
		if readErr != nil {
			t.Fatal(readErr)
		}
		if c.out == "" && err == nil || c.out != "" && string(got) != c.out {
			t.Errorf("%q: %v, %q", c.in, err, got)
		}
	}
}
