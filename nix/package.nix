# varve itself.
{
  lib,
  buildGoModule,
  # nixpkgs' Go, with which buildGoModule builds, and the next one that varve can
  # be built with.
  go ? null,
  buildGo126Module ? null,
  installShellFiles,
}:
let
  # As go.mod has it.
  goVersion = "1.26";
  build =
    if go == null || builtins.compareVersions go.version goVersion >= 0 then
      buildGoModule
    else if buildGo126Module != null then
      buildGo126Module
    else
      throw "varve needs Go ${goVersion} or later, and this nixpkgs has ${go.version}: take a later nixpkgs, or pass a later one's go and buildGoModule to nix/package.nix";
in
build {
  pname = "varve";
  version = "0-unstable";

  # Only what Go sees, so that nothing else changes the program's path.
  src = builtins.path {
    name = "varve-source";
    path = ../.;
    filter =
      path: type:
      let
        name = baseNameOf path;
      in
      if type == "directory" then
        !builtins.elem name [
          ".git"
          ".cache"
          "testdata"
          "vendor"
        ]
      else
        # The schema is embedded.
        builtins.elem name [
          "go.mod"
          "go.sum"
          "schema.json"
        ]
        || lib.hasSuffix ".go" name;
  };

  # make vendor-hash writes it.
  vendorHash = "sha256-i4K6+O21MkfNHskqM3j+ZhpqB3llfDDnJnHinlHeEF4=";

  subPackages = [ "cmd/varve" ];
  # The tests want testdata, and engines that Nix's sandbox does not have.
  doCheck = false;
  env.CGO_ENABLED = 0;
  ldflags = [
    "-s"
    "-w"
  ];

  nativeBuildInputs = [ installShellFiles ];
  # It runs on the machine that builds.
  postBuild = "GOOS= GOARCH= go run ./hack/mangen -o man";
  postInstall = ''
    installManPage man/*.1
    for shell in bash fish zsh; do
      $out/bin/varve completion $shell > varve.$shell
    done
    installShellCompletion varve.{bash,fish,zsh}
  '';

  meta = {
    description = "Builds container images: same input, same bytes";
    license = lib.licenses.mit;
    mainProgram = "varve";
  };
}
