{
  pkgs ? import <nixpkgs> { },
  tools ? import ../.. { inherit pkgs; },
}:
{
  image = tools.buildLayeredImage {
    name = "nix";
    tag = "1.0";
    contents = [
      pkgs.nix
      pkgs.bash
      pkgs.coreutils
    ];
    includeNixDB = true;
    config.Env = [ "USER=nobody" ];
  };
}
