# varve, and on it the functions of nixpkgs' dockerTools: docs/nix.md.
{
  pkgs ? import <nixpkgs> { },
  varve ? pkgs.callPackage ./nix/package.nix { },
}:
import ./nix { inherit pkgs varve; } // { inherit varve; }
