{
  pkgs ? import <nixpkgs> { },
  tools ? import ../.. { inherit pkgs; },
}:
{
  image = tools.buildLayeredImage {
    name = "greeter";
    tag = "1.0";
    contents = [
      pkgs.hello
      pkgs.bash
      pkgs.coreutils
    ];
    # /data belongs to the user that the program runs as; nobody has to be root for it.
    fakeRootCommands = ''
      mkdir -p data
      chown 1000:1000 data
    '';
    config = {
      Cmd = [ "hello" ];
      User = "1000:1000";
      WorkingDir = "/data";
    };
  };
}
