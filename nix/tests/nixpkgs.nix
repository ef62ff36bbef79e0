# pkgs.nix in the place of <nixpkgs>, for expressions that import that. The variable
# VARVE_TEST_INPUTS names a directory with debian.json, as debian.sh prints it, and
# varve, the program, which stands for what a build of the sources comes to.
{
  overlays ? [ ],
  ...
}:
let
  inputs = /. + builtins.getEnv "VARVE_TEST_INPUTS";
  base = import ./pkgs.nix { debian = builtins.fromJSON (builtins.readFile (inputs + "/debian.json")); };

  own = base // {
    lib = {
      hasSuffix =
        end: text:
        let
          n = builtins.stringLength text - builtins.stringLength end;
        in
        n >= 0 && builtins.substring n (-1) text == end;
      licenses.mit = { };
    };
    installShellFiles = null;
    buildGoModule =
      { pname, ... }:
      base.runCommand pname
        {
          program = builtins.path {
            name = "varve-program";
            path = inputs + "/varve";
          };
        }
        ''
          mkdir -p $out/bin
          cp $program $out/bin/varve
          chmod 755 $out/bin/varve
        '';
  };

  final =
    let
      pkgs = builtins.foldl' (pkgs: overlay: pkgs // overlay final pkgs) own overlays;
    in
    pkgs
    // {
      buildPackages = final;
      callPackage =
        file: args:
        let
          f = import file;
        in
        f (builtins.intersectAttrs (builtins.functionArgs f) final // args);
    };
in
final
