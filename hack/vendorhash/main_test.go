package main

import (
	"os"
	"path/filepath"
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
