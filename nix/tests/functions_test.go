package tests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/varve-image/varve/internal/enginetest"
	"github.com/varve-image/varve/internal/goldenstore"
)

// testFunctions tests what no example shows.
func testFunctions(t *testing.T, s *site) {
	for name, f := range map[string]func(*testing.T, *site){
		"golden layers": goldenLayers, "built layers": builtLayers, "files": files, "results": results, "changed attributes": changedAttributes,
		"odd names": oddNames, "repeated layers": repeatedLayers, "owners": owners, "programs": programs,
		"arguments": arguments, "overlay": overlay, "without nixpkgs": withoutNixpkgs, "flake": flake,
		"nix in a shell": nixInShell, "loose arguments": looseArguments, "strict scripts": strictScripts,
		"interpreters": interpreters, "layers": layers, "layering by name": layeringByName, "layering by a plan": layeringByPlan, "layers of environments": layersOfEnvironments,
	} {
		t.Run(name, func(t *testing.T) { f(t, s) })
	}
}

// goldenLayers: what nixpkgs' streamer makes of four paths, once they are in a
// Nix store.
func goldenLayers(t *testing.T, s *site) {
	root := t.TempDir()
	if _, err := goldenstore.Make(root); err != nil {
		t.Fatal(err)
	}
	libc, openssl, app, names := goldenstore.Path("libc-2.39"), goldenstore.Path("openssl-3.0.14"), goldenstore.Path("app-1.0"), goldenstore.Path("names")
	registration := fmt.Sprintf("%[1]s\n\n0\n%[2]s\n\n1\n%[1]s\n%[3]s\n\n2\n%[1]s\n%[2]s\n%[4]s\n\n0\n", libc, openssl, app, names)
	s.Run("nix-store", "--init") // the subtests come in any order
	for _, p := range []string{libc, openssl, app, names} {
		command(t, exec.CommandContext(t.Context(), "cp", "-a", root+p, s.Root()+p))
	}
	s.RunInput(registration, "nix-store", "--register-validity", "--reregister")
	path := s.build(t, fmt.Sprintf(`buildLayeredImage {
    name = "golden"; compressor = "none";
    config.Env = [ "PATHS=${builtins.storePath %q}:${builtins.storePath %q}" ];
  }`, app, names))[0]
	list := command(t, exec.CommandContext(t.Context(), "tar", "-tf", s.Root()+path))
	for _, c := range []struct{ path, digest string }{
		{app, "a92083694e2bd3d3670ce2994a189e119dea95fd9f2ca5be1bd3ebd869f90432"},
		{libc, "a7daf6b39dc03118e8a518c0292b4c4f0af3a4cf4e0b59a51a3a948f1c09bd3a"},
		{openssl, "514d8a51c0907a16fb905d1bef2e15472ab8a38e3c895e58038881bf99029912"},
		{names, "34599921ec104fcecee2723c2297c8b936ad59da4aa0086eea4560a79928a58c"},
	} {
		if !strings.Contains(list, c.digest+"/layer.tar") {
			t.Errorf("no layer has the digest that %s should have, %s; there are\n%s", c.path, c.digest, list)
		}
	}
}

// builtLayers: two images have the same layers, and a daemon's user could too.
func builtLayers(t *testing.T, s *site) {
	paths := s.build(t, `
  let
    runtime = buildLayer { name = "runtime"; contents = [ pkgs.bash pkgs.coreutils ]; };
    data = buildLayer {
      name = "data";
      copyToRoot = [ { source = ./nix/tests/dummy; target = "/srv"; } ];
      perms = [ { path = "/srv/**"; uid = 33; gid = 33; } ];
      layers = [ runtime ];
    };
    image = name: contents: buildLayeredImage {
      inherit name contents; tag = "latest"; layers = [ runtime data ]; compressor = "none";
    };
  in [ (image "one" [ pkgs.hello ]) (image "two" [ ]) runtime data ]`)
	one, two := example{Path: paths[0], ImageName: "one", ImageTag: "latest"}, example{Path: paths[1], ImageName: "two", ImageTag: "latest"}
	s.load(t, one)
	s.load(t, two)
	want(t, run(t, one.ref(), "bash", "-c", "hello && stat -c %u /srv/hello.txt"), "Hello, world!\n33\n")
	want(t, run(t, two.ref(), "bash", "-c", "cat /srv/hello.txt"), "hello from a path")
	for _, dir := range paths[2:] {
		sum := strings.Fields(command(t, exec.CommandContext(t.Context(), "sha256sum", s.Root()+dir+"/layer.tar")))[0]
		for _, e := range []example{one, two} {
			if !strings.Contains(strings.Join(layersOf(t, e.ref()), " "), sum) {
				t.Errorf("%s has not the layer %s", e.ref(), dir)
			}
		}
	}
	want(t, s.fails(t, `buildLayeredImage { name = "x"; layers =
    let layer = name: buildLayer { inherit name; contents = [ pkgs.hello ]; }; in [ (layer "a") (layer "b") ]; }`),
		"which a layer below has too")
}

// files: the content of fakeNss and the others.
func files(t *testing.T, s *site) {
	read := func(code, name string) string {
		data, err := os.ReadFile(s.Root() + s.build(t, code)[0] + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	want(t, read("fakeNss", "etc/passwd"), "root:x:0:0:root user:/var/empty:/bin/sh\nnobody:x:65534:65534:nobody:/var/empty:/bin/sh\n")
	want(t, read(`fakeNss.override { extraPasswdLines = [ "app:x:1:1::/:/noshell" ]; }`, "etc/passwd"), "/bin/sh\napp:x:1:1::/:/noshell\nnobody:")
	want(t, read(`fakeNss.override { extraGroupLines = [ "app:x:1:" ]; }`, "etc/group"), "root:x:0:\napp:x:1:\nnobody:x:65534:\n")
	want(t, read("fakeNss", "etc/nsswitch.conf"), "hosts: files dns\n")
	for code, link := range map[string]string{
		"binSh": "bin/sh", "usrBinEnv": "usr/bin/env", "caCertificates": "etc/pki/tls/certs/ca-bundle.crt",
	} {
		target, err := os.Readlink(s.Root() + s.build(t, code)[0] + "/" + link)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(s.Root() + target); err != nil {
			t.Errorf("%s leads nowhere: %v", link, err)
		}
	}
	merged := `mergeDrvs { derivations = [ pkgs.hello binSh fakeNss ]; }`
	want(t, read(merged, "etc/nsswitch.conf"), "hosts:")
	if _, err := os.Stat(s.Root() + s.build(t, merged)[0] + "/bin/hello"); err != nil {
		t.Error(err)
	}
	want(t, s.Run("cat", s.build(t, `mergeDrvs { derivations = [ binSh ]; onlyDeps = true; }`)[0]), "-bin-sh\n")
	want(t, s.Run(s.build(t, `shellScript "greet" "echo hello; ls -d /"`)[0]), "hello\n/\n")
}

// results: the attributes that results have.
func results(t *testing.T, s *site) {
	got := eval[[]any](t, s, `
  let
    stream = streamLayeredImage { name = "Reg.io/Ab"; tag = "t"; passthru.mine = 1; meta.description = "d"; };
    layered = buildLayeredImage { name = "c"; compressor = "zstd"; passthru.mine = 2; };
    single = buildImage { name = "d"; compressor = "none"; config.Cmd = [ "x" ]; };
  in [
    stream.apps.push.type (builtins.unsafeDiscardStringContext stream.apps.load.program == "${stream.load}/bin/load-Ab")
    stream.imageName stream.imageTag stream.isExe stream.mine stream.passthru.mine stream.meta.description
    layered.name layered.mine (layered.imageTag == layered.stream.imageTag) (layered ? isExe)
    (layered.passthru.imageTag == layered.imageTag) single.passthru.imageName (single ? ociLayout) (buildNixShellImage { drv = pkgs.hello; } ? override)
    single.name single.layer.name single.buildArgs.config.Cmd
    (single.override { name = "e"; }).imageName (single.override (old: { name = old.name + "f"; })).imageName
    (exportImage { fromImage = single; }).name (mergeImages [ single ]).name
    (pullImage { imageName = "a/b"; imageDigest = "sha256:0"; sha256 = builtins.hashString "sha256" ""; finalImageTag = "v1"; }).name
    (map (cpu: (import ./nix/lib.nix).goArch "${cpu}-linux") [ "x86_64" "i586" "armv7a" "powerpc64le" "mips64el" "riscv64" "s390x" "loongarch64" ])
  ]`)
	want(t, fmt.Sprintf("%q", got), fmt.Sprintf("%q", []any{
		"app", true, "reg.io/ab", "t", true, 1.0, 1.0, "d", "c.tar.zst", 2.0, true, false, true, "d", true, true, "docker-image-d.tar", "docker-layer-d", []any{"x"}, "e", "df",
		"docker-image-d.tar", "merge-docker-images", "docker-image-a-b-v1.tar",
		[]any{"amd64", "386", "arm", "ppc64le", "mips64le", "riscv64", "s390x", "loong64"},
	}))
}

// changedAttributes: overrideAttrs changes what Nix builds, and nothing else of the
// result; override works on its result.
func changedAttributes(t *testing.T, s *site) {
	got := eval[[]any](t, s, `
  let
    image = buildImage { name = "a"; tag = "1"; meta.description = "d"; };
    renamed = image.overrideAttrs (old: { name = "b-${old.name}"; meta = old.meta // { priority = 1; }; });
    both = image.overrideAttrs (final: old: { name = "c"; passthru.mine = final.name; });
    path = value: builtins.unsafeDiscardStringContext "${value}";
    stream = streamLayeredImage { name = "s"; tag = "1"; };
    pulled = pullImage { imageName = "a/b"; imageDigest = "sha256:0"; sha256 = builtins.hashString "sha256" ""; };
  in [
    renamed.name renamed.imageName renamed.meta.description renamed.meta.priority (renamed.layer == image.layer)
    both.name both.mine both.passthru.mine (renamed.load != image.load)
    (renamed.override { name = "e"; }).name (renamed.override { name = "e"; }).imageName
    (stream.overrideAttrs { name = "t"; }).isExe (stream.overrideAttrs { name = "t"; }).layer.name
    ((stream.overrideAttrs { name = "t"; }).overrideAttrs { preferLocalBuild = false; }).name
    (pulled.overrideAttrs { name = "p"; }).imageName (path (image.overrideAttrs { }) == path image)
    (path (image.overrideAttrs { meta.description = "other"; }) == path image)
    (path (image.overrideAttrs { requiredSystemFeatures = [ "x" ]; }) == path image)
  ]`)
	want(t, fmt.Sprintf("%v", got), fmt.Sprintf("%v", []any{
		"b-docker-image-a.tar.gz", "a", "d", 1, true, "c", "c", "c", true,
		"b-docker-image-e.tar.gz", "e", true, "t", "t", "a/b", true, true, false,
	}))
}

// oddNames: files whose names are options to some program, or several words.
func oddNames(t *testing.T, s *site) {
	const files = `(pkgs.runCommand "odd" { } "mkdir -p $out/data; cd $out/data; touch -- -x '--help me' 'a  b' \"it's\"")`
	for i, path := range s.build(t, fmt.Sprintf(`
  [ (buildImage { name = "odd0"; tag = "latest"; copyToRoot = [ %[1]s pkgs.pkgsStatic.busybox ]; })
    (buildLayeredImage { name = "odd1"; tag = "latest"; contents = [ %[1]s pkgs.pkgsStatic.busybox ]; }) ]`, files)) {
		e := example{Path: path, ImageName: fmt.Sprintf("odd%d", i), ImageTag: "latest"}
		s.load(t, e)
		want(t, run(t, e.ref(), "ls", "-1", "/data"), "--help me\n-x\na  b\nit's\n")
	}
}

// repeatedLayers: a base that has one layer twice, through links in its archive.
func repeatedLayers(t *testing.T, s *site) {
	empty := s.build(t, `let one = buildImage { name = "empty"; compressor = "none"; };
    in buildImage { name = "empty"; tag = "latest"; compressor = "none"; fromImage = one; }`)[0]
	dir := t.TempDir()
	script := `set -e
tar -xf "$1"; chmod -R u+w .
first=$(sed -n 's/.*"\(.*\/layer.tar\)".*/\1/p' manifest.json | head -n 1)
cp "$first" same.tar
for layer in */layer.tar; do ln -sf ../same.tar "$layer"; done
tar -cf "$2" *`
	repeated := filepath.Join(s.Home(), "repeated.tar")
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script, "sh", s.Root()+empty, repeated)
	cmd.Dir = dir
	command(t, cmd)
	path := s.build(t, `buildImage {
    name = "repeated"; tag = "latest"; fromImage = ./repeated.tar; copyToRoot = pkgs.bash; runAsRoot = "echo it has run";
  }`)[0]
	e := example{Path: path, ImageName: "repeated", ImageTag: "latest"}
	s.load(t, e)
	run(t, e.ref(), "/bin/bash", "-c", "exit 0")
}

// owners: chown in scripts, and an owner of the whole store.
func owners(t *testing.T, s *site) {
	paths := s.build(t, `
  [ (streamLayeredImage {
      name = "chown"; tag = "latest"; enableFakechroot = true;
      fakeRootCommands = "touch /testfile; chown 12345:12345 /testfile";
      config.Cmd = [ "${pkgs.coreutils}/bin/stat" "-c" "%u:%g" "/testfile" ];
    })
    (streamLayeredImage {
      name = "user"; tag = "latest"; uid = 1000; gid = 1000; uname = "user"; gname = "user";
      config = { User = "1000"; Cmd = [ "${pkgs.coreutils}/bin/stat" "-c" "%u:%g" "${pkgs.coreutils}/bin/stat" ]; };
    })
    (buildImage {
      name = "owned"; tag = "latest"; uid = 7; gid = 8; copyToRoot = [ ./nix/tests/dummy pkgs.pkgsStatic.busybox ];
      config.Cmd = [ "stat" "-c" "%u:%g" "/hello.txt" ];
    })
    (buildImage {
      name = "shadow"; tag = "latest"; copyToRoot = pkgs.pkgsStatic.busybox;
      runAsRoot = "${shadowSetup}\ngroupadd -r app\nuseradd -r -g app -d /data app\nmkdir /data\nchown app:app /data";
      config = { User = "app"; Cmd = [ "stat" "-c" "%U:%G" "/data" ]; };
    }) ]`)
	for i, c := range []struct {
		name, want string
		exe        bool
	}{{"chown", "12345:12345\n", true}, {"user", "1000:1000\n", true}, {"owned", "7:8\n", false}, {"shadow", "app:app\n", false}} {
		e := example{Path: paths[i], ImageName: c.name, ImageTag: "latest", IsExe: c.exe}
		s.load(t, e)
		want(t, run(t, e.ref()), c.want)
	}
}

// programs: load, push and tarsum call varve; a stream takes a name.
func programs(t *testing.T, s *site) {
	host := enginetest.Registry(t)
	paths := s.build(t, `
  let image = streamLayeredImage { name = "taken"; tag = "1"; contents = [ pkgs.hello ]; config.Cmd = [ "hello" ]; };
  in [ image.load image.push tarsum image image.ociLayout
    (buildImage { name = "single"; tag = "2"; copyToRoot = pkgs.hello; }).ociLayout ]`)
	docker := engines.Docker(t)
	load := s.Command(t.Context(), paths[0]+"/bin/load-taken")
	load.Env = append(load.Env, "DOCKER_HOST="+docker.Address())
	command(t, load)
	want(t, run(t, "taken:1"), "Hello, world!")
	command(t, s.Command(t.Context(), paths[1]+"/bin/push-taken", "--insecure", host, "docker://"+host+"/team/taken:2"))
	want(t, command(t, s.Command(t.Context(), "./varve", "inspect", "--insecure", host, "docker://"+host+"/team/taken:2")), "linux/amd64")
	stream := s.Command(t.Context(), "sh", "-c", paths[3]+" --repo_tag other:3 | tar -xO manifest.json")
	want(t, command(t, stream), `"other:3"`)
	sum := s.Command(t.Context(), "sh", "-c", "tar -c -T /dev/null | "+paths[2]+"/bin/tarsum")
	want(t, command(t, sum), "tarsum.v1+sha256:")
	want(t, command(t, s.Command(t.Context(), "./varve", "inspect", "oci:"+paths[4])), "taken:1")
	want(t, command(t, s.Command(t.Context(), "./varve", "inspect", "oci:"+paths[5])), "single:2")
}

// overlay: scripts before, while and after an image is mounted.
func overlay(t *testing.T, s *site) {
	path := s.build(t, `runWithOverlay {
    name = "overlaid";
    fromImage = buildImage { name = "base"; copyToRoot = ./nix/tests/dummy; };
    preMount = "echo before > layer/early; mkdir $out";
    postMount = "cat mnt/early mnt/hello.txt > $out/seen; rm mnt/hello.txt; echo x > mnt/late; chown 5:6 mnt/late";
    postUmount = "ls -A layer > $out/layer; cp deleted $out; stat -c %u:%g layer/late > $out/owner";
  }`)[0]
	for name, text := range map[string]string{
		"seen": "before\nhello from a path\n", "layer": "early\nlate\n", "deleted": "hello.txt\n", "owner": "5:6\n",
	} {
		want(t, s.Run("cat", path+"/"+name), text)
	}
	file := s.build(t, `runWithOverlay { name = "file"; postMount = "echo y > $out"; }`)[0]
	want(t, s.Run("cat", file), "y\n")
	want(t, s.fails(t, `runWithOverlay { name = "nothing"; postMount = "true"; }`), "made nothing at $out")
}

// arguments: unknown arguments are an error, as are contradictory ones.
func arguments(t *testing.T, s *site) {
	for code, message := range map[string]string{
		`buildImage { name = "x"; tga = "y"; }`:                                       "unexpected argument 'tga'",
		`streamLayeredImage { name = "x"; contens = [ ]; }`:                           "unexpected argument 'contens'",
		`buildLayeredImage { name = "x"; fromImageName = "y"; }`:                      "unexpected argument 'fromImageName'",
		`buildImage { name = "x"; contents = [ ]; copyToRoot = [ ]; }`:                "contents is the old name of copyToRoot: give one of them",
		`buildImage { name = "x"; compressor = "xz"; }`:                               "compressor xz: expected none, gz or zstd",
		`pullImage { imageName = "x"; imageDigest = ""; hash = "a"; sha256 = "b"; }`:  "hash, sha256 and outputHash say the same",
		`streamLayeredImage { name = "x"; layers = pkgs.hello; }`:                     "is not a layer's directory",
		`streamNixShellImage { drv = pkgs.mkShell { }; command = "a"; run = "b"; }`:   "command and run say the same",
		`streamNixShellImage { drv = pkgs.mkShell { __structuredAttrs = true; }; }`:   "has __structuredAttrs",
		`buildLayeredImage { name = "x"; contents = [ pkgs.hello ]; maxLayers = 1; }`: "maxLayers",
		`streamLayeredImage { name = "x"; mtime = "now"; }`:                           "the files' time must be fixed",
	} {
		want(t, s.fails(t, code), message)
	}
}

// interpreters: a program whose first line no system would read as intended is
// refused before anything is built.
func interpreters(t *testing.T, s *site) {
	// path returns a path that gives a program's first line the length.
	path := func(length int, command string) string {
		return "/" + strings.Repeat("v", length-len("#!/"+command))
	}
	for _, program := range []string{
		"(%s).tarsum", `((%s).streamLayeredImage { name = "x"; })`, `((%s).buildLayeredImage { name = "x"; })`,
		`((%s).buildImage { name = "x"; }).load`, `((%s).streamLayeredImage { name = "x"; }).push`,
		`((%s).streamNixShellImage { drv = pkgs.hello; })`,
	} {
		tools := func(varve string) string {
			return fmt.Sprintf(program, fmt.Sprintf("import ./nix { inherit pkgs; varve = %q; }", varve))
		}
		command := " stream"
		if strings.HasSuffix(program, "tarsum") || strings.HasSuffix(program, "load") || strings.HasSuffix(program, "push") {
			command = " nix-run"
		}
		for _, varve := range []string{"/opt/my tools/varve", "/opt/my\ttools", path(256, command)} {
			want(t, s.fails(t, tools(varve)), "no program can begin with the line")
		}
		want(t, fmt.Sprint(eval[bool](t, s, "(("+tools(path(255, command))+").drvPath != null)")), "true")
	}
	for _, shell := range []string{"/opt/my tools/sh", path(256, "")} {
		want(t, s.fails(t, fmt.Sprintf(`(import ./nix { inherit pkgs varve; runtimeShell = %q; }).shellScript "x" "true"`, shell)), "no program can begin with the line")
	}
}

// looseArguments: what dockerTools accepts besides what its manual says.
func looseArguments(t *testing.T, s *site) {
	paths := s.build(t, `
  let
    layer = buildLayer { name = "team/data"; contents = pkgs.hello; };
    one = name: buildImage { inherit name; tag = 5; fromImage = ""; created = "20230102"; copyToRoot = [ [ ./nix/tests/dummy ] null ]; };
  in [
    (mergeImages (one "one"))
    (exportImage { fromImage = mergeImages [ (one "one") (buildImage { name = "two"; created = "2023-01-02 12:34:56"; }) ]; name = "first.tar"; })
    (mergeDrvs { derivations = fakeNss; })
    (streamLayeredImage { name = "many"; maxLayers = 500; layers = layer; contents = [ null [ pkgs.bash ] ]; })
    (runWithOverlay { name = "first"; fromImage = mergeImages [ (one "one") (one "two") ]; postMount = "cat mnt/hello.txt > $out"; })
  ]`)
	want(t, command(t, exec.CommandContext(t.Context(), "sh", "-c", "gzip -dc "+s.Root()+paths[0]+" | tar -xO manifest.json")), "one:5")
	want(t, command(t, exec.CommandContext(t.Context(), "tar", "-xOf", s.Root()+paths[1], "./hello.txt")), "hello from a path")
	want(t, s.Run("cat", paths[2]+"/etc/nsswitch.conf"), "hosts:")
	want(t, command(t, s.Command(t.Context(), "./varve", "inspect", paths[3])), "many:")
	want(t, s.Run("cat", paths[4]), "hello from a path")
	got := eval[[]any](t, s, `
  let
    pull = args: pullImage ({ imageName = "a/b"; imageDigest = "sha256:0"; } // args);
    sum = builtins.hashString "sha256" "";
    path = drv: builtins.unsafeDiscardStringContext drv.outPath;
    arguments = f: if builtins.isAttrs f then f.__functionArgs else builtins.functionArgs f; # as lib.functionArgs
  in [
    (path (pull { sha256 = sum; }) == path (pull { hash = null; outputHash = sum; outputHashAlgo = "sha256"; }))
    (path (pull { sha256 = sum; }) == path (pull { outputHash = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="; }))
    (arguments streamLayeredImage).name (arguments streamLayeredImage).maxLayers (arguments buildImage).name
  ]`)
	want(t, fmt.Sprintf("%v", got), "[true true false true false]")
}

// strictScripts: what stops a script of stdenv stops those of images, and runAsRoot
// no more than nixpkgs' does.
func strictScripts(t *testing.T, s *site) {
	for _, script := range []string{"false | true", "x=$(false; echo)"} {
		for _, code := range []string{
			`streamLayeredImage { name = "x"; extraCommands = "%s"; }`, `buildImage { name = "x"; extraCommands = "%s"; }`,
			`buildLayeredImage { name = "x"; fakeRootCommands = "# a comment\n%s"; }`, `runWithOverlay { name = "x"; postMount = "%s"; }`,
		} {
			want(t, s.fails(t, fmt.Sprintf(code, script)), "exit code 1")
		}
	}
	s.build(t, `buildImage { name = "x"; copyToRoot = pkgs.pkgsStatic.busybox; runAsRoot = "false | true; touch /x"; }`)
}

// nixInShell: Nix works in the image of a shell, for the shell's user; and null
// attributes are not variables. Builds are local: the program that asks other
// machines is not in pkgs.nix.
func nixInShell(t *testing.T, s *site) {
	const code = `streamNixShellImage {
    name = "shell-with-nix"; tag = "1"; uid = 1234; gid = 100;
    drv = pkgs.mkShell { nativeBuildInputs = [ pkgs.nix ]; __ignoreNulls = true; none = null; };
    run = ''
      set -e
      [ -z "''${none+x}" ]
      stat -c "%n %u:%g %a" /nix /nix/store /nix/var/nix /etc/nix
      printf "sandbox = false\nsubstitute = false\n" > /etc/nix/nix.conf
      echo text > file
      added=$(nix-store --add file)
      built=$(nix-build --no-out-link -E 'derivation {
        name = "built"; system = builtins.currentSystem; builder = "/bin/sh"; preferLocalBuild = true;
        args = [ "-c" "echo built > $out" ];
      }')
      cat $added $built
      nix-store --verify --check-contents
    '';
  }`
	s.load(t, example{Path: s.build(t, code)[0], IsExe: true})
	out := run(t, "shell-with-nix:1")
	for _, line := range []string{"/nix 1234:100 755", "/nix/store 1234:100 1777", "/nix/var/nix 1234:100 755", "/etc/nix 1234:100 755", "text", "built"} {
		want(t, out, line+"\n")
	}
	want(t, run(t, "--user", "4321:1", "--entrypoint", "/bin/sh", "shell-with-nix:1", "-c", "echo other > /nix/store/mine; echo done"), "done\n")
}

// withoutNixpkgs: nothing but varve is needed, and anything needed is named.
func withoutNixpkgs(t *testing.T, s *site) {
	const tools = `(import ./nix { varve = builtins.path { name = "varve"; path = ./varve; }; })`
	path := s.build(t, tools+`.streamLayeredImage { name = "bare"; contents = [ `+tools+`.fakeNss ]; }`)[0]
	want(t, command(t, s.Command(t.Context(), "sh", "-c", path+" | tar -xO manifest.json")), `"bare:`)
	want(t, s.fails(t, tools+".binSh"), "this needs bashInteractive: pass pkgs, or bashInteractive alone")
}

// flake: the flake evaluates without anything, and its overlay replaces
// dockerTools.
func flake(t *testing.T, s *site) {
	flake := filepath.Join(s.Home(), "flake")
	command(t, exec.CommandContext(t.Context(), "mkdir", flake))
	command(t, exec.CommandContext(t.Context(), "cp", "-r", "../../nix", "../../flake.nix", "../../default.nix", "../../go.mod", "../../cmd", flake))
	nix := func(args ...string) string { return s.nixIn(t, flake, args...) }
	nix("flake", "check", "path:.")
	want(t, nix("flake", "show", "path:."), "overlays")
	nix("build", "--impure", "--no-link", "path:.#checks.x86_64-linux.helloOnRoot")
	want(t, nix("run", "--impure", "path:.", "--", "version"), "varve ")
	want(t, nix("eval", "--impure", "--raw", "--expr", `(import ./. { }).examples.bash.imageName`), "bash")
	flakeUser(t, s, flake)
}

// nixIn runs nix in a directory, with pkgs.nix as nixpkgs.
func (s *site) nixIn(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := s.Command(t.Context(), append([]string{"nix"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(cmd.Env, "NIX_PATH=nixpkgs="+s.Home()+"/nix/tests/nixpkgs.nix", "VARVE_TEST_INPUTS="+s.Home(),
		"DOCKER_HOST="+engines.Docker(t).Address())
	return command(t, cmd)
}

// flakeUser: a flake that takes varve's has images whose programs nix run runs.
func flakeUser(t *testing.T, s *site, varve string) {
	t.Helper()
	host, dir := enginetest.Registry(t), filepath.Join(s.Home(), "user")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/flake.nix", fmt.Sprintf(`{
  inputs.varve.url = "path:%s";
  outputs = { self, varve }:
    let pkgs = import <nixpkgs> { overlays = [ varve.overlays.default ]; }; in {
      packages.x86_64-linux.image = pkgs.dockerTools.buildLayeredImage {
        name = "flake/Hello"; tag = "1"; contents = [ pkgs.hello ]; config.Cmd = [ "hello" ];
      };
      apps.x86_64-linux = self.packages.x86_64-linux.image.apps;
    };
}`, varve))
	for i, load := range []string{"path:.#image.load", "path:.#load"} {
		s.nixIn(t, dir, "run", "--impure", load)
		want(t, run(t, "flake/hello:1"), "Hello, world!")
		docker(t, "image", "rm", "flake/hello:1")
		push, target := strings.Replace(load, "load", "push", 1), fmt.Sprintf("docker://%s/team/hello:%d", host, i)
		s.nixIn(t, dir, "run", "--impure", push, "--", "--insecure", host, target)
		want(t, command(t, s.Command(t.Context(), "./varve", "inspect", "--insecure", host, target)), "linux/amd64")
	}
}
