package tests

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/enginetest"
)

// testExpressions tests what published expressions use of nixpkgs' functions as
// they are today.
func testExpressions(t *testing.T, s *site) {
	for name, f := range map[string]func(*testing.T, *site){
		"names of base images": baseNames, "chains of layers": layerChains, "texts as lists": textsAsLists,
		"overridden tools": overriddenTools, "root directories": rootDirectories, "times": looseTimes,
		"outputs": outputsOfResults, "single layers": singleLayers, "variants": variants,
		"removed files": removedFiles, "today's shells": todaysShells, "the program's package": programPackage, "errors": errorsOfSpecs,
	} {
		t.Run(name, func(t *testing.T) { f(t, s) })
	}
}

// warned builds what code stands for, and returns the paths of the outputs and the
// messages of Nix and the builders.
func (s *site) warned(t *testing.T, code string) (paths []string, said string) {
	t.Helper()
	result, err := enginetest.Output(s.Command(t.Context(), "nix-build", "--no-out-link", "--max-jobs", "2", "-E", s.expression(code)))
	if err != nil {
		t.Fatal(err)
	}
	if result.ExitCode != 0 {
		t.Fatalf("%s: %s", code, troubles(result.Stderr))
	}
	return strings.Fields(result.Stdout), result.Stderr
}

// files lists an image's files, as tar does.
func (s *site) files(t *testing.T, image string) string {
	t.Helper()
	return command(t, s.Command(t.Context(), "sh", "-c", "./varve export "+image+" -o - | tar -tvf - --numeric-owner"))
}

// inspected returns the image's description.
func (s *site) inspected(t *testing.T, image string) string {
	t.Helper()
	return command(t, s.Command(t.Context(), "./varve", "inspect", "--json", image))
}

// baseNames: only one of fromImageName and fromImageTag, or a name that the archive
// spells otherwise.
func baseNames(t *testing.T, s *site) {
	const bases = `
    one = buildImage { name = "team/one"; tag = "latest"; extraCommands = "touch one"; };
    two = buildImage { name = "two"; tag = "2"; extraCommands = "touch two"; };
    both = mergeImages [ one two ];`
	const alone, otherwise = "one alone chooses nothing", "has no image of this name: its "
	cases := []struct{ arguments, file, warning string }{
		{`fromImage = both; fromImageName = null; fromImageTag = "latest";`, "one", alone},
		{`fromImage = both; fromImageName = "two";`, "one", alone},
		{`fromImage = both; fromImageName = ""; fromImageTag = "";`, "one", ""},
		{`fromImage = both; fromImageName = "two"; fromImageTag = 2;`, "two", ""},
		{`fromImage = both; fromImageName = "docker.io/library/two"; fromImageTag = "2";`, "two", ""},
		{`fromImage = both; fromImageName = "registry.example:5000/team/one"; fromImageTag = "latest";`, "one", otherwise},
		{`fromImage = both; fromImageName = "quay.io/two"; fromImageTag = "2";`, "two", otherwise},
		{`fromImage = two; fromImageName = "something"; fromImageTag = "else";`, "two", otherwise},
	}
	const kinds = 4 // of each case
	warnings := map[string]int{}
	code := "let " + bases + " in ["
	for i, c := range cases {
		code += fmt.Sprintf(`
      (exportImage { name = "exported-%[1]d"; %[2]s })
      (runWithOverlay { name = "mounted-%[1]d"; %[2]s postMount = "${pkgs.busybox}/bin/tar -C mnt -cf $out ."; })
      (exportImage { name = "pure-%[1]d"; fromImage = buildImage { name = "pure-%[1]d"; %[2]s }; })
      (exportImage { name = "root-%[1]d"; fromImage = buildImage {
        name = "root-%[1]d"; copyToRoot = pkgs.pkgsStatic.busybox; runAsRoot = "true"; %[2]s
      }; })`, i, c.arguments)
		warnings[c.warning] += kinds
	}
	paths, said := s.warned(t, code+"]")
	for i, path := range paths {
		c := cases[i/kinds]
		if list := command(t, exec.CommandContext(t.Context(), "tar", "-tf", s.Root()+path)); !strings.Contains(list, "./"+c.file+"\n") {
			t.Errorf("%s: %s: there is no file %s in %q", c.arguments, path, c.file, list)
		}
	}
	for _, warning := range []string{alone, otherwise} {
		if n := strings.Count(said, warning); n != warnings[warning] {
			t.Errorf("it says %d times %q, want %d times: %s", n, warning, warnings[warning], said)
		}
	}
	want(t, s.fails(t, "let "+bases+` in exportImage { name = "x"; fromImage = both; fromImageName = "three"; fromImageTag = "1"; }`), `it has "team/one:latest", "two:2"`)
}

// layerChains: an image has what the layers of its layers have.
func layerChains(t *testing.T, s *site) {
	const layers = `
    tree = names: pkgs.runCommand "tree" { } (toString (map (name: "mkdir -p $out/srv; echo ${name} > $out/srv/${name};") names));
    a = buildLayer { name = "a"; copyToRoot = tree [ "x" ]; contents = [ pkgs.hello ]; };
    b = buildLayer { name = "b"; copyToRoot = tree [ "x" "y" ]; contents = [ pkgs.bash ]; layers = [ a ]; };
    c = buildLayer { name = "c"; copyToRoot = tree [ "z" ]; layers = b; };`
	for _, given := range []string{"[ c ]", "[ a b c ]", "[ c a ]", "[ b c ]"} {
		image := s.build(t, "let "+layers+` in buildLayeredImage { name = "chained"; tag = "1"; layers = `+given+"; }")[0]
		list := s.files(t, image)
		for _, file := range []string{"./srv/x\n", "./srv/y\n", "./srv/z\n", "./bin/hello -> /nix/store/", "./bin/bash -> /nix/store/", "-hello-1/bin/hello\n"} {
			want(t, list, file)
		}
		if n := strings.Count(s.inspected(t, image), "sha256:"); given == "[ c ]" && n == 0 {
			t.Errorf("%s has no layers", image)
		}
	}
	paths := s.build(t, "let "+layers+" in [ c a ]")
	want(t, s.Run("nix-store", "--query", "--requisites", paths[0]), paths[1]) // it is kept, and copied
}

// textsAsLists: Cmd and Entrypoint that are not lists.
func textsAsLists(t *testing.T, s *site) {
	for _, function := range []string{"buildImage", "buildLayeredImage", "streamLayeredImage"} {
		paths, said := s.warned(t, function+` {
      name = "texts"; tag = "1"; config.Cmd = "${pkgs.hello}/bin/hello"; config.entrypoint = ./nix/tests/dummy/hello.txt; config.Shell = "/bin/sh";
    }`)
		for _, key := range []string{"Cmd", "entrypoint", "Shell"} {
			want(t, said, "in image texts: config."+key+" is not a list")
		}
		config := strings.Join(strings.Fields(s.inspected(t, paths[0])), "")
		for _, part := range []string{`"Cmd":["/nix/store/`, `-hello-1/bin/hello"]`, `"Entrypoint":["/nix/store/`, `-hello.txt"]`, `"Shell":["/bin/sh"]`} {
			want(t, config, part)
		}
	}
	_, said := s.warned(t, `buildLayeredImage { name = "lists"; config.Cmd = [ "x" ]; config.Entrypoint = null; }`)
	if strings.Contains(said, "is not a list") {
		t.Errorf("a list and null are warned of: %s", said)
	}
}

// overriddenTools: override as in nixpkgs' dockerTools.
func overriddenTools(t *testing.T, s *site) {
	const tools = `(import ./nix { inherit pkgs varve; })`
	paths, said := s.warned(t, "("+tools+`.override { skopeo = null; pigz = pkgs.bash; coreutils = pkgs.busybox; }).usrBinEnv`)
	want(t, s.Run("readlink", paths[0]+"/usr/bin/env"), "-busybox-1/bin/env")
	for _, name := range []string{"skopeo", "pigz"} {
		want(t, said, "warning: dockerTools.override: varve has no use for "+name+"\n")
	}
	if strings.Contains(said, "coreutils") {
		t.Errorf("what counts is warned of: %s", said)
	}
	got := eval[[]any](t, s, `let
    once = `+tools+`.override (old: { coreutils = old.busybox or old.bash; shadow = old.nix; });
    twice = once.override { system = "riscv64-linux"; hostSystem = "aarch64-linux"; };
  in [
    (builtins.match ".*-bash-1/bin/env" "${(builtins.head (builtins.attrValues once.usrBinEnv.files)).link}" != null)
    twice.usrBinEnv.system (builtins.match ".*-nix-1/bin.*" twice.shadowSetup != null)
    (builtins.isFunction twice.override) (twice ? examples)
  ]`)
	want(t, fmt.Sprint(got), "[true riscv64-linux true true true]")
	want(t, s.fails(t, tools+".override { skopoe = null; }"), "unexpected arguments skopoe")
}

// rootDirectories: buildImage's root directory belongs to its owner, and the group
// may write to it.
func rootDirectories(t *testing.T, s *site) {
	cases := []struct{ arguments, root string }{
		{`uid = 7; gid = 8; copyToRoot = pkgs.hello;`, "drwxrwxr-x 7/8 "},
		{`uid = 7; gid = 8; copyToRoot = pkgs.hello; extraCommands = "mkdir x; chmod o-x .";`, "drwxrwxr-- 7/8 "},
		{`uid = 7; gid = 8; extraCommands = "true";`, "drwxrwxr-x 7/8 "},
		{`copyToRoot = [ ];`, "drwxrwxr-x 0/0 "},
		{`fromImage = buildImage { name = "base"; uid = 5; }; gid = 3;`, "drwxrwxr-x 0/3 "},
		{`copyToRoot = pkgs.pkgsStatic.busybox; runAsRoot = "touch /x";`, "drwxrwxr-x 0/0 "},
		{`fromImage = buildImage { name = "base"; copyToRoot = pkgs.pkgsStatic.busybox; }; runAsRoot = "chmod 700 /";`, "drwx------ 0/0 "},
	}
	code := ""
	for _, c := range cases {
		code += `(buildImage { name = "rooted"; tag = "1"; ` + c.arguments + " })\n"
	}
	paths := s.build(t, "let images = ["+code+"]; in images ++ map (image: image.layer) images")
	for i, c := range cases {
		want(t, s.files(t, paths[i]), c.root)
		layer := s.Root() + paths[len(cases)+i] + "/layer.tar"
		want(t, command(t, exec.CommandContext(t.Context(), "tar", "--numeric-owner", "-tvf", layer)), c.root)
	}
	list := s.files(t, s.build(t, `buildLayeredImage { name = "layered"; contents = [ pkgs.hello ]; }`)[0])
	want(t, list, "drwxr-xr-x 0/0 ")
}

// looseTimes: times as date reads them.
func looseTimes(t *testing.T, s *site) {
	const created = "2024-02-29T12:30:05+00:00"
	cases := []struct{ text, want string }{
		{`2024-02-29T12:30:05Z\n`, created}, {` 2024-02-29 12:30:05 `, created}, {`2024-02-29T12:30:05.999Z`, created},
		{`2024-02-29T12:30:05,25+00:00\n`, created}, {`2024-02-29T13:30:05.5+01:00`, created},
		{`2024-02-29T12:30Z`, "2024-02-29T12:30:00+00:00"}, {`2024-02-29 12:30`, "2024-02-29T12:30:00+00:00"}, {`2024-02-29T13:30 +0100`, "2024-02-29T12:30:00+00:00"},
		{`2024-02-29\n`, "2024-02-29T00:00:00+00:00"}, {`@5\n`, "1970-01-01T00:00:05+00:00"}, {`20240229`, "2024-02-29T00:00:00+00:00"},
	}
	texts := ""
	for _, c := range cases {
		texts += `"` + c.text + `" `
	}
	paths := s.build(t, `builtins.concatMap (created: map (build: build { name = "timed"; inherit created; }) [ buildImage buildLayeredImage ]) [ `+texts+"]")
	for i, path := range paths {
		c := cases[i/2]
		if config := s.inspected(t, path); !strings.Contains(config, `"`+c.want+`"`) {
			t.Errorf("%q: there is no %q in %s", c.text, c.want, config)
		}
	}
	path := s.build(t, `buildLayer { name = "timed"; mtime = "2024-02-29T12:30\n"; contents = [ pkgs.hello ]; }`)[0]
	want(t, command(t, exec.CommandContext(t.Context(), "tar", "-tvf", s.Root()+path+"/layer.tar", "--utc")), "2024-02-29 12:30")
	want(t, s.fails(t, `buildImage { name = "timed"; created = "yesterday"; }`), `image "timed": attribute created: got "yesterday"`)
}

// outputsOfResults: results have outputs and inputDerivation, like stdenv's.
func outputsOfResults(t *testing.T, s *site) {
	got := eval[[]any](t, s, `
  let stream = streamLayeredImage { name = "s"; passthru.mine = 1; }; image = buildImage { name = "i"; };
  in [
    stream.outputs image.outputs binSh.outputs (map (o: o.outputName) stream.all) stream.layer.mine stream.layer.imageName
    stream.out.outputSpecified image.inputDerivation.name image.out.imageName (stream.overrideAttrs { name = "n"; }).outputs
  ]`)
	want(t, fmt.Sprint(got), "[[out layer] [out] [out] [out layer] 1 s true inputDerivation-docker-image-i.tar.gz i [out layer]]")
	for _, code := range []string{`buildImage { name = "i"; copyToRoot = pkgs.hello; }`, "binSh", `pullImage { imageName = "a/b"; imageDigest = "sha256:0"; hash = ""; }`} {
		path := s.build(t, "("+code+").inputDerivation")[0]
		want(t, s.Run("nix-store", "--query", "--references", path), eval[string](t, s, `"${varve}"`))
	}
}

// singleLayers: buildImage's layer, and the functions that nixpkgs makes it with.
func singleLayers(t *testing.T, s *site) {
	paths := s.build(t, `
  let
    baseJson = pkgs.writeText "base.json" (builtins.toJSON { created = "now"; os = "linux"; config.Cmd = [ "x" ]; });
    base = buildImage { name = "base"; copyToRoot = pkgs.pkgsStatic.busybox; };
  in [
    (buildImage { name = "a"; copyToRoot = ./nix/tests/dummy; uid = 3; config.Cmd = [ "${pkgs.hello}/bin/hello" ]; }).layer
    (mkPureLayer { name = "p"; inherit baseJson; copyToRoot = ./nix/tests/dummy; extraCommands = "touch more"; uid = 3; gid = 4; })
    (mkRootLayer { name = "r"; inherit baseJson; fromImage = base; fromImageName = "other"; fromImageTag = "1"; runAsRoot = "rm /bin/vi; chown 5:6 /bin"; })
  ]`)
	for i, c := range []struct{ file, json string }{
		{" 3/0 ", `"created": "1970-01-01T00:00:01Z"`}, {" 3/4 ", `"created": "20`}, {"./bin/.wh.vi\n", `"config"`},
	} {
		dir := s.Root() + paths[i]
		want(t, command(t, exec.CommandContext(t.Context(), "ls", dir)), "VERSION\nchecksum\njson\nlayer.tar\n")
		want(t, command(t, exec.CommandContext(t.Context(), "tar", "--numeric-owner", "-tvf", dir+"/layer.tar")), c.file)
		json := command(t, exec.CommandContext(t.Context(), "cat", dir+"/json"))
		sum := strings.TrimSpace(command(t, s.Command(t.Context(), "sh", "-c", "./varve tarsum < "+paths[i]+"/layer.tar")))
		want(t, json, c.json)
		want(t, json, `"checksum": "`+sum+`"`)
		want(t, json, `"os": "linux"`)
		want(t, "<"+command(t, exec.CommandContext(t.Context(), "cat", dir+"/VERSION"))+">", "<1.0>")
		if list := command(t, exec.CommandContext(t.Context(), "tar", "-tf", dir+"/layer.tar")); strings.Contains(list, "nix/store/") {
			t.Errorf("the layer has store paths: %s", list)
		}
	}
	want(t, s.fails(t, `mkPureLayer { name = "p"; baseJson = pkgs.writeText "base.json" "[]"; }`), "expected an object")
}

// variants: variants of an architecture.
func variants(t *testing.T, s *site) {
	for _, path := range s.build(t, `map (build: build { name = "v"; architecture = "arm"; variant = "v7"; }) [ buildImage buildLayeredImage streamLayeredImage ]`) {
		want(t, command(t, s.Command(t.Context(), "./varve", "inspect", path)), "linux/arm/v7")
	}
	got := eval[string](t, s, `(pullImage { imageName = "a"; imageDigest = "sha256:0"; hash = ""; arch = "arm"; variant = "v6"; }).platform`)
	want(t, got, "linux/arm/v6")
}

// todaysShells: what nixpkgs has changed in files and in shells.
func todaysShells(t *testing.T, s *site) {
	config := s.inspected(t, s.build(t, `streamNixShellImage { drv = pkgs.hello; }`)[0])
	for _, name := range []string{`"SSL_CERT_FILE=`, `"NIX_SSL_CERT_FILE=`} {
		want(t, config, name+"/nix/store/")
	}
	want(t, eval[string](t, s, "shadowSetup"), "nullok yescrypt\n")
}

// removedFiles: what a base and layers have, and an image does not, without a script.
func removedFiles(t *testing.T, s *site) {
	paths := s.build(t, `
  let
    base = buildImage { name = "base"; extraCommands = "mkdir -p srv/old; touch srv/old/x srv/kept srv/other"; };
    layer = buildLayer { name = "layer"; copyToRoot = [ { source = ./nix/tests/dummy; target = "/opt"; } ]; };
    remove = [ "/srv/{old,other}" ];
  in [
    (buildImage { name = "a"; fromImage = base; copyToRoot = pkgs.hello; inherit remove; })
    (buildLayeredImage { name = "b"; fromImage = base; contents = [ pkgs.hello pkgs.bash ]; layers = [ layer ]; remove = remove ++ [ "/opt/*" "/bin/{ba,}sh" "/lib" ]; })
    (streamLayeredImage { name = "c"; fromImage = base; contents = [ pkgs.hello ]; remove = "/srv/o*"; })
  ]`)
	for _, path := range paths {
		list := s.files(t, path)
		for _, there := range []string{"./srv/kept\n", "./bin/hello"} {
			want(t, list, there)
		}
		for _, gone := range []string{"./srv/old", "./srv/other", "./opt/hello.txt", "./bin/bash", "-bash-1/", ".wh."} {
			if strings.Contains(list, gone) {
				t.Errorf("%s has %s: %s", path, gone, list)
			}
		}
	}
	got := eval[[]any](t, s, `map (build: (build { name = "x"; }).imageTag == (build { name = "x"; remove = [ ]; }).imageTag) [ buildImage buildLayeredImage streamLayeredImage ]`)
	want(t, fmt.Sprint(got), "[true true true]")
	want(t, s.fails(t, `buildImage { name = "six"; remove = [ "/nowhere" ]; }`), `build image six: remove[0]: there is nothing below`)
}

// errorsOfSpecs: errors name the image and the attribute.
func errorsOfSpecs(t *testing.T, s *site) {
	for code, message := range map[string]string{
		`buildImage { name = "wrong/One"; config.Env = "A=b"; }`:                      `image "wrong/One": attribute config.Env: got `,
		`streamLayeredImage { name = "two"; uid = "root"; }`:                          `image "two": attribute uid: got "root"`,
		`buildLayeredImage { name = "not..ok"; }`:                                     `image "not..ok": attribute name: "not..ok" is not a valid image name`,
		`buildLayeredImage { name = "three"; architecture = "amd46"; }`:               `image "three": attribute architecture: got "amd46"`,
		`buildLayer { name = "four"; perms = [ { path = "/x"; } ]; contents = [ ]; }`: `image "four": attribute layers[0]`,
	} {
		said := s.fails(t, code)
		want(t, said, "varve: "+message)
		if strings.Contains(said, "-spec.json:") {
			t.Errorf("%s: it names a place in a file: %s", code, said)
		}
	}
	want(t, s.fails(t, `buildImage { name = "five"; copyToRoot = [ /nonexistent ]; }`), "nonexistent")
}

// programPackage: what nixpkgs needs to have to build varve.
func programPackage(t *testing.T, s *site) {
	const code = `import ./nix/package.nix {
    lib = { hasSuffix = end: text: false; licenses.mit = { }; }; installShellFiles = null; %s
    buildGoModule = attrs: "built by nixpkgs' Go"; %s
  }`
	const old, later = `go.version = "1.25.9";`, `buildGo126Module = attrs: "built by a later Go";`
	for _, c := range []struct{ go1, other, want string }{
		{"", "", "built by nixpkgs' Go"}, {`go.version = "1.26.0";`, later, "built by nixpkgs' Go"}, {`go.version = "1.27rc1";`, "", "built by nixpkgs' Go"},
		{old, later, "built by a later Go"},
	} {
		want(t, eval[string](t, s, fmt.Sprintf(code, c.go1, c.other)), c.want)
	}
	want(t, s.fails(t, fmt.Sprintf(code, old, "")), "varve needs Go 1.26 or later, and this nixpkgs has 1.25.9")
}
