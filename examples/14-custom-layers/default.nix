{
  pkgs ? import <nixpkgs> { },
  tools ? import ../.. { inherit pkgs; },
}:
rec {
  # Changes rarely.
  runtime = tools.buildLayer {
    name = "runtime";
    contents = [
      pkgs.bash
      pkgs.coreutils
    ];
  };

  # Changes by itself, and has files where they are to be.
  pages = tools.buildLayer {
    name = "pages";
    copyToRoot = [
      {
        source = ./pages;
        target = "/srv/pages";
        owner = "33:33";
      }
    ];
  };

  image = tools.streamLayeredImage {
    name = "pages";
    tag = "1.0";
    layers = [
      runtime
      pages
    ];
    contents = [ pkgs.hello ];
    config.Cmd = [
      "bash"
      "-c"
      "hello; cat /srv/pages/index.txt"
    ];
  };
}
