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
    # Nix wants to know who it is, and in a container there is no group of builders.
    config.Env = [
      "USER=nobody"
      "NIX_CONFIG=build-users-group ="
    ];
  };
}
