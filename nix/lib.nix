# What the other files need of a library.
rec {
  # A list of what nested lists hold, or of one thing; nulls are nothing.
  toList =
    v:
    if builtins.isList v then
      builtins.concatMap toList v
    else if v == null then
      [ ]
    else
      [ v ];

  optionalAttrs = condition: attrs: if condition then attrs else { };

  # A package of nixpkgs.
  package =
    pkgs: name:
    if pkgs == null then
      throw "varve: this needs ${name}: pass pkgs, or ${name} alone, to varve's functions"
    else
      pkgs.${name};

  # In the letters that names of images have.
  lower = builtins.replaceStrings (letters "ABCDEFGHIJKLMNOPQRSTUVWXYZ") (
    letters "abcdefghijklmnopqrstuvwxyz"
  );
  letters = text: builtins.genList (i: builtins.substring i 1 text) (builtins.stringLength text);

  # The 32 characters of the hash in a derivation's output path.
  hashPart =
    drv: builtins.substring 0 32 (baseNameOf (builtins.unsafeDiscardStringContext drv.outPath));

  # An absolute path as one below some root.
  relative = path: builtins.substring 1 (-1) path;

  # A text as one word of a shell command.
  quote = text: "'${builtins.replaceStrings [ "'" ] [ "'\\''" ] (toString text)}'";

  # The first line of a program. Linux reads 255 bytes of it, and the interpreter's
  # name ends at a space.
  firstLine =
    interpreter: argument:
    let
      line = "#!${interpreter}${if argument == "" then "" else " ${argument}"}";
      spaces = [
        " "
        "\t"
        "\n"
      ];
    in
    if
      builtins.stringLength line > 255
      || builtins.replaceStrings spaces (map (_: "") spaces) interpreter != interpreter
    then
      throw "varve: no program can begin with the line ${builtins.toJSON line}: at most 255 bytes are read, and a space ends the interpreter's name; give a shorter path, without spaces"
    else
      line;

  # Attributes with new ones: a set, a function of the old ones, or one of all that
  # come of it and the old ones.
  changed =
    new: old:
    let
      some = if builtins.isFunction new then new old else new;
      all = old // (if builtins.isFunction some then new all old else some);
    in
    all;

  # A function whose result has override, as nixpkgs' lib.makeOverridable makes it;
  # lib.functionArgs tells its arguments.
  overridable = f: {
    __functionArgs = builtins.functionArgs f;
    __functor = _: overridden f;
  };

  overridden =
    f: args:
    f args
    // {
      override = new: overridden f (args // (if builtins.isFunction new then new args else new));
      overrideAttrs = new: overridden (args: (f args).overrideAttrs new) args;
    };

  # A system of Nix as Go names its architecture.
  goArch =
    system:
    let
      cpu = builtins.head (builtins.split "-" system);
    in
    {
      x86_64 = "amd64";
      i386 = "386";
      i486 = "386";
      i586 = "386";
      i686 = "386";
      aarch64 = "arm64";
      armv5tel = "arm";
      armv6l = "arm";
      armv7a = "arm";
      armv7l = "arm";
      powerpc64 = "ppc64";
      powerpc64le = "ppc64le";
      mipsel = "mipsle";
      mips64el = "mips64le";
      loongarch64 = "loong64";
    }
    .${cpu} or cpu;
}
