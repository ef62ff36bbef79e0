{
  pkgs ? import <nixpkgs> { },
  tools ? import ../.. { inherit pkgs; },
}:
{
  image = tools.streamNixShellImage {
    name = "hello-shell";
    tag = "1.0";
    drv = pkgs.hello;
  };
}
