package drv

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nix-community/go-nix/pkg/derivation"

	"github.com/varve-image/varve/internal/enginetest"
)

// expression has a derivation of each kind that Nix writes with no experimental
// feature other than ca-derivations.
const expression = `
let
  base = { system = "x86_64-linux"; builder = "/bin/sh"; };
  source = builtins.toFile "source" "text";
  lib = derivation (base // { name = "lib"; outputs = [ "out" "dev" ]; args = [ "-c" "a \"b\" \\ \n\r\t ä" ]; });
in {
  inherit lib;
  app = derivation (base // { name = "app"; inherit source; deps = [ lib lib.dev ]; empty = ""; ALPHA = 1; });
  flat = derivation (base // { name = "flat"; outputHash = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="; outputHashAlgo = "sha256"; });
  recursive = derivation (base // { name = "recursive"; outputHash = "da39a3ee5e6b4b0d3255bfef95601890afd80709"; outputHashAlgo = "sha1"; outputHashMode = "recursive"; });
  structured = derivation (base // { name = "structured"; __structuredAttrs = true; list = [ 1 "two" lib { deep = null; } ]; exportReferencesGraph.graph = [ lib ]; });
  floating = derivation (base // { name = "floating"; __contentAddressed = true; outputHashAlgo = "sha256"; outputHashMode = "recursive"; });
  deferred = derivation (base // { name = "deferred"; floating = derivation (base // { name = "floating"; __contentAddressed = true; outputHashAlgo = "sha256"; outputHashMode = "recursive"; }); });
}`

// TestAgainstNix reads derivations that Nix has written. Written again they are the
// same; Nix and go-nix agree about them.
func TestAgainstNix(t *testing.T) {
	n := enginetest.Nix(t)
	file := filepath.Join(n.Home(), "expression.nix")
	if err := os.WriteFile(file, []byte(expression), 0o644); err != nil {
		t.Fatal(err)
	}
	n.Run("nix-instantiate", "--extra-experimental-features", "ca-derivations", file)
	drvs, err := filepath.Glob(n.Root() + "/nix/store/*.drv")
	if err != nil || len(drvs) != 7 {
		t.Fatalf("Nix made %q, %v", drvs, err)
	}
	kinds := map[string]Kind{
		"lib": InputAddressed, "app": InputAddressed, "structured": InputAddressed, "flat": Fixed, "recursive": Fixed,
		"floating": Floating, "deferred": Deferred,
	}
	for _, file := range drvs {
		name := strings.TrimSuffix(filepath.Base(file)[33:], ".drv")
		t.Run(name, func(t *testing.T) {
			d, err := Read("", "", file)
			if err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(write(d), data) {
				t.Errorf("written again: %s\nNix has %s", write(d), data)
			}
			if kind := d.Outputs[len(d.Outputs)-1].Kind; kind != kinds[name] {
				t.Errorf("it is of kind %d, want %d", kind, kinds[name])
			}
			shown := map[string]shownDerivation{}
			text := n.Run("nix", "--extra-experimental-features", "ca-derivations", "show-derivation", strings.TrimPrefix(file, n.Root()))
			if err := json.Unmarshal([]byte(text), &shown); err != nil {
				t.Fatal(err)
			}
			for _, want := range shown {
				compare(t, d, want)
			}
			if kinds[name] == Floating || kinds[name] == Deferred {
				return // go-nix does not know them
			}
			other, err := derivation.ReadDerivation(bytes.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			// Args: go-nix leaves the escapes in them.
			compare(t, d, shownDerivation{InputSrcs: other.InputSources, System: other.Platform, Builder: other.Builder, Args: d.Args, Env: other.Env})
		})
	}
}

// shownDerivation is the output of "nix show-derivation".
type shownDerivation struct {
	InputSrcs       []string
	System, Builder string
	Args            []string
	Env             map[string]string
}

func compare(t *testing.T, d *Derivation, want shownDerivation) {
	t.Helper()
	env := map[string]string{}
	for _, v := range d.Env {
		env[v.Name] = v.Value
		if want.Env[v.Name] != v.Value {
			t.Errorf("%s is %q, want %q", v.Name, v.Value, want.Env[v.Name])
		}
	}
	if len(env) != len(want.Env) || d.System != want.System || d.Builder != want.Builder ||
		!slices.Equal(d.Args, want.Args) || !slices.Equal(d.Sources, want.InputSrcs) {
		t.Errorf("got  %+v\nwant %+v", d, want)
	}
}
