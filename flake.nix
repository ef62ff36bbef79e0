{
  description = "Container images on Nix: dockerTools' functions, same input, same bytes";

  # No inputs: nixpkgs is the user's, who hands it over with the overlay or lib.
  outputs =
    { self }:
    let
      # There is a nixpkgs of our own only where evaluation is impure.
      perSystem =
        f:
        if builtins ? currentSystem then
          { ${builtins.currentSystem} = f (import <nixpkgs> { overlays = [ self.overlays.default ]; }); }
        else
          { };
    in
    {
      # The functions: lib.tools { inherit pkgs varve; }. Both may be left out, but for
      # what needs them: see nix/default.nix.
      lib.tools = import ./nix;

      overlays.default = final: prev: {
        varve = final.callPackage ./nix/package.nix { };
        dockerTools = self.lib.tools {
          pkgs = final;
          varve = final.buildPackages.varve;
        };
      };

      packages = perSystem (pkgs: {
        default = pkgs.varve;
        inherit (pkgs) varve;
      });

      # Images that need no network and no time.
      checks = perSystem (pkgs: {
        inherit (pkgs.dockerTools.examples)
          bash
          bashNoTagStreamLayered
          bulk-layer
          helloOnRoot
          exportBash
          ;
      });
    };
}
