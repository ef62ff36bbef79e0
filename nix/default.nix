# The functions of nixpkgs' dockerTools, on varve: names, attributes and defaults
# are the same. docs/nix.md says what differs, and what there is besides.
#
# Every derivation has varve itself as its builder. No stdenv is needed, so they
# evaluate and build with any nixpkgs, or without one.
#
#   tools = import ./nix { inherit pkgs; varve = pkgs.callPackage ./nix/package.nix { }; };
{
  # The program: a package with bin/varve, or the path of the program in the store.
  varve,
  # nixpkgs, or null. Only the packages that a function says are looked at.
  pkgs ? null,
  # The machine that builds.
  system ? if pkgs == null then builtins.currentSystem else pkgs.stdenv.buildPlatform.system,
  # The machine that images are for.
  hostSystem ? if pkgs == null then system else pkgs.stdenv.hostPlatform.system,
  # What runs extraCommands, fakeRootCommands and runAsRoot, and the programs that
  # they find on PATH.
  shell ? if pkgs == null then null else pkgs.stdenv.shell,
  path ? if pkgs == null then [ ] else pkgs.stdenv.initialPath,
  # Packages that some functions put into images.
  bashInteractive ? (import ./lib.nix).package pkgs "bashInteractive",
  coreutils ? (import ./lib.nix).package pkgs "coreutils",
  shadow ? (import ./lib.nix).package pkgs "shadow",
  cacert ? (import ./lib.nix).package pkgs "cacert",
  runtimeShell ? (import ./lib.nix).package pkgs "runtimeShell",
  storeDir ? builtins.storeDir,
}@args:
let
  lib = import ./lib.nix;
  context = {
    inherit
      lib
      system
      shell
      path
      bashInteractive
      coreutils
      shadow
      cacert
      runtimeShell
      storeDir
      ;
    hasCacert = args ? cacert || pkgs != null && pkgs ? cacert;
    architecture = lib.goArch hostSystem;
    # Where the program is.
    program = if builtins.isAttrs varve then "${varve}/bin/varve" else "${varve}";
  };
  derivations = import ./derivations.nix context;
  layered = import ./images.nix (context // derivations);
  means = context // derivations // layered.means;
  files = import ./files.nix (context // derivations);
  # What override may change, and what a function that it is given finds: nixpkgs'
  # arguments too.
  accepted = builtins.functionArgs (import ./default.nix);
  arguments =
    builtins.listToAttrs (
      map (name: {
        inherit name;
        value = lib.package pkgs name;
      }) lib.dockerToolsArguments
    )
    // builtins.intersectAttrs accepted context
    // {
      inherit varve pkgs hostSystem;
    };
  tools =
    layered.tools
    // import ./single.nix means
    // import ./archives.nix means
    // files
    // import ./shell.nix (means // layered.tools // files);
in
tools
// {
  # Images that show what there is; they serve as tests too.
  examples = import ./tests/examples.nix {
    inherit tools;
    pkgs = if pkgs == null then throw "varve: the examples need pkgs" else pkgs;
    toolsFor = pkgs: import ./default.nix (args // { inherit pkgs; });
  };

  # As callPackage's results have it.
  override =
    new:
    let
      given = if builtins.isFunction new then new arguments else new;
      own = builtins.intersectAttrs accepted given;
      unused = builtins.attrNames (removeAttrs given (builtins.attrNames accepted));
      unknown = builtins.filter (name: !builtins.elem name lib.dockerToolsArguments) unused;
    in
    if unknown != [ ] then
      throw "varve: dockerTools.override has the unexpected arguments ${toString unknown}; there are ${toString (builtins.attrNames accepted)}"
    else
      builtins.foldl' (
        tools: name: lib.warn "dockerTools.override: varve has no use for ${name}" tools
      ) (import ./default.nix (args // own)) unused;
}
