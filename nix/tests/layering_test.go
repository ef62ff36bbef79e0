package tests

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/layering"
)

// layeringCases are images' arguments, the number of layers available for store
// paths, and names of the paths in them: a name after "!" is in none.
var layeringCases = map[string]struct {
	args   string
	layers int
	names  []string
}{
	"contents":       {`contents = [ pkgs.bash pkgs.coreutils pkgs.hello ]; config.Cmd = [ "hello" ];`, 99, []string{"bash-1", "coreutils-1", "hello-1", "glibc-2"}},
	"few layers":     {`contents = [ pkgs.bash pkgs.coreutils pkgs.hello pkgs.nginx ]; maxLayers = 4;`, 3, nil},
	"one layer":      {`contents = [ pkgs.bash pkgs.coreutils ]; maxLayers = 2;`, 1, nil},
	"no store paths": {`config.Cmd = [ "x" ];`, 99, nil},
	"config alone":   {`config = { Cmd = [ "${pkgs.hello}/bin/hello" ]; Labels."é\n\"" = "日本\\"; };`, 99, []string{"hello-1"}},
	"an environment": {`contents = pkgs.buildEnv { name = "environment"; paths = [ pkgs.hello pkgs.coreutils ]; };`, 99,
		[]string{"hello-1", "coreutils-1", "!environment"}},
	"an environment with a database": {`contents = pkgs.buildEnv { name = "environment"; paths = [ pkgs.hello pkgs.coreutils ]; }; includeNixDB = true;`, 99,
		[]string{"hello-1", "coreutils-1", "environment"}},
	"an empty package": {`contents = [ pkgs.hello (pkgs.runCommand "empty" { } "mkdir -p $out/etc") ];`, 99, []string{"hello-1", "!empty"}},
	"scripts": {`contents = [ pkgs.bash ]; extraCommands = "echo ${pkgs.hello} > mentioned; head -c 30000000 /dev/zero > large";
      fakeRootCommands = "mkdir data; chown 7:8 data; rm -r bin lib";`, 99, []string{"hello-1", "!bash-1"}},
	"a base": {`contents = [ pkgs.hello pkgs.bash pkgs.coreutils ]; maxLayers = 4;
      fromImage = buildImage { name = "base"; copyToRoot = ./nix/tests/dummy; };`, 2, nil},
}

// layers: the store paths of images are divided as nixpkgs divides the closure
// of their config and their top layer, which Nix has measured here.
func layers(t *testing.T, s *site) {
	for name, c := range layeringCases {
		t.Run(name, func(t *testing.T) {
			paths := s.build(t, fmt.Sprintf(`
  let
    args = { name = "divided"; config = { }; %s };
    stream = streamLayeredImage args;
    base = pkgs.writeText "divided-base.json" (builtins.toJSON { inherit (args) config; architecture = (import ./nix/lib.nix).goArch builtins.currentSystem; os = "linux"; });
  in [ stream base stream.layer (pkgs.runCommand "graph" {
    __structuredAttrs = true;
    exportReferencesGraph.graph = [ base stream.layer ];
  } "source .attrs.sh; cp .attrs.json \${outputs[out]}") ]`, c.args))
			var graph struct{ Graph []layering.Node }
			readJSON(t, s, paths[3], &graph)
			g, err := layering.NewGraph(graph.Graph)
			if err != nil {
				t.Fatal(err)
			}
			want, err := g.Auto(t.Context(), c.layers, paths[1], paths[2])
			if err != nil {
				t.Fatal(err)
			}
			got := storeLayers(t, s, paths[0])
			if !slices.EqualFunc(got, want, slices.Equal) {
				t.Errorf("the layers are\n%q\nwant\n%q", got, want)
			}
			wantNames(t, got, c.names)
		})
	}
}

// storeLayers returns the store paths in the layers of an image that streams.
func storeLayers(t *testing.T, s *site, program string) [][]string {
	t.Helper()
	var conf struct {
		Layers [][]string `json:"store_layers"`
	}
	readJSON(t, s, program, &conf)
	return conf.Layers
}

// readJSON reads a file in the store, whose first line may name an interpreter.
func readJSON(t *testing.T, s *site, path string, v any) {
	t.Helper()
	data, err := os.ReadFile(s.Root() + path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data[bytes.IndexByte(data, '{'):], v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// wantNames checks which names store paths in layers have.
func wantNames(t *testing.T, layers [][]string, names []string) {
	t.Helper()
	for _, name := range names {
		name, absent := strings.CutPrefix(name, "!")
		there := slices.ContainsFunc(slices.Concat(layers...), func(p string) bool { return strings.HasSuffix(p, "-"+name) })
		if there == absent {
			t.Errorf("a path called %s is in a layer: %v, in %q", name, there, layers)
		}
	}
}

// layeringByName: the order by popularity has a layer for each of the most popular
// paths, and other words are refused; the image of a shell has what its own files
// and its environment mention.
func layeringByName(t *testing.T, s *site) {
	paths := s.build(t, `
  map (layering: streamLayeredImage { name = "named"; contents = [ pkgs.bash pkgs.coreutils pkgs.hello ]; maxLayers = 3; inherit layering; })
    [ "popularity" "auto" ]
  ++ [
    (buildLayeredImage { name = "archived"; contents = pkgs.hello; layering = "popularity"; }).stream
    (streamLayeredImage { name = "piped"; contents = pkgs.hello; layeringPipeline = [ [ "split_every" 1 ] ]; })
    (streamNixShellImage { drv = pkgs.mkShell { nativeBuildInputs = [ pkgs.hello ]; }; })
    (streamLayeredImage { name = "named"; contents = [ pkgs.bash pkgs.coreutils pkgs.hello ]; maxLayers = 3; }).spec
  ]`)
	popular, auto := storeLayers(t, s, paths[0]), storeLayers(t, s, paths[1])
	if len(popular) != 2 || len(popular[0]) != 1 || !strings.HasSuffix(popular[0][0], "-glibc-2") {
		t.Errorf("the layers by popularity are %q", popular)
	}
	if len(auto) != 2 || slices.EqualFunc(auto, popular, slices.Equal) {
		t.Errorf("the layers of auto are %q", auto)
	}
	if archived := storeLayers(t, s, paths[2]); len(archived) != 2 || !strings.HasSuffix(archived[0][0], "-glibc-2") {
		t.Errorf("the layers of an archive by popularity are %q", archived)
	}
	if piped := storeLayers(t, s, paths[3]); len(piped) != 2 || !strings.HasSuffix(piped[0][0], "-hello-1") {
		t.Errorf("the layers of a pipeline, smallest first, are %q", piped)
	}
	var plan []struct{ Paths []string }
	if err := json.Unmarshal([]byte(command(t, s.Command(t.Context(), "./varve", "layers", "--json", paths[5]))), &plan); err != nil {
		t.Fatal(err)
	}
	for i, paths := range auto {
		if i >= len(plan) || !slices.Equal(plan[i].Paths, paths) {
			t.Errorf("varve layers shows of the spec %q, want %q", plan, auto)
		}
	}
	wantNames(t, storeLayers(t, s, paths[4]), []string{"hello-1", "bash-1", "stdenv-1", "nix-shell-rc", "!nix-shell-directories"})
	want(t, s.fails(t, `streamLayeredImage { name = "x"; layering = "single"; }`), `layering "single": expected auto, popularity or stable`)
}

// layeringByPlan: layering = "stable" keeps together what a plan file does, or an image, and takes no
// text for either.
func layeringByPlan(t *testing.T, s *site) {
	paths := s.build(t, `
  let
    args = { name = "planned"; contents = [ pkgs.bash pkgs.coreutils pkgs.hello ]; maxLayers = 3; layering = "stable"; };
    text = builtins.unsafeDiscardStringContext "varve layers 1\n${pkgs.hello}\n${pkgs.bash}\n";
    by = previous: streamLayeredImage (args // { inherit previous; });
  in [
    (streamLayeredImage args)
    (by (builtins.toFile "layers.lock" text))
    (by (buildLayeredImage (args // { layering = "popularity"; })))
    (by (streamLayeredImage (args // { layering = "popularity"; })))
    (streamLayeredImage (args // { layering = "popularity"; }))
    (by null)
  ]`)
	var layers [6][][]string
	for i := range layers {
		layers[i] = storeLayers(t, s, paths[i])
	}
	if kept := layers[1]; len(kept) != 2 || len(kept[0]) != 2 || !strings.HasSuffix(kept[0][0], "-hello-1") || !strings.HasSuffix(kept[0][1], "-bash-1") {
		t.Errorf("by a plan file: %q", kept)
	}
	same := func(a, b int) bool { return slices.EqualFunc(layers[a], layers[b], slices.Equal) }
	if same(0, 4) || same(0, 1) || !same(2, 4) || !same(3, 4) || !same(5, 0) {
		t.Errorf("the layers are %q", layers)
	}
	want(t, s.fails(t, `streamLayeredImage { name = "x"; layering = "stable"; previous = "docker://registry.example/a:1"; }`), "expected a layers.lock or an image")
	want(t, s.fails(t, `streamLayeredImage { name = "x"; layering = "auto"; previous = builtins.toFile "layers.lock" "varve layers 1"; }`), "it is the plan of layering: stable")
}

// layersOfEnvironments: a layer by itself has what the links to its contents lead
// to, and not an environment of links; it has what only its files mention, and the
// image has neither again.
func layersOfEnvironments(t *testing.T, s *site) {
	paths := s.build(t, `
  let layer = buildLayer {
    name = "environment-layer";
    contents = pkgs.buildEnv { name = "environment"; paths = [ pkgs.hello ]; };
    copyToRoot = [ (pkgs.writeTextDir "etc/shell" "${pkgs.bash}/bin/bash\n") ];
  };
  in [ layer (streamLayeredImage { name = "upon"; layers = [ layer ]; contents = [ pkgs.coreutils ]; }) ]`)
	var built struct{ Paths []string }
	readJSON(t, s, paths[0]+"/layer.json", &built)
	wantNames(t, [][]string{built.Paths}, []string{"hello-1", "bash-1", "glibc-2", "!environment", "!shell"})
	wantNames(t, storeLayers(t, s, paths[1]), []string{"coreutils-1", "!hello-1", "!bash-1", "!glibc-2", "!environment"})
}
