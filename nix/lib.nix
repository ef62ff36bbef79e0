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

  warn = message: value: builtins.trace "warning: ${message}" value;

  # null and an empty text are nothing.
  given = v: v != null && v != "";

  # One of an archive's images: by its name and its tag, or what is first in it.
  choice =
    where: name: tag:
    if given name && given tag then
      {
        fromImageName = name;
        fromImageTag = toString tag;
      }
    else if given name || given tag then
      warn "${where}: of fromImageName and fromImageTag one alone chooses nothing: the archive's first image is taken" { }
    else
      { };

  # A time that `date -d` takes as varve takes it: without white space around it
  # and fractions of a second, and with the seconds that it may lack.
  time =
    t:
    let
      bare = builtins.match "[[:space:]]*(.*[^[:space:]])[[:space:]]*" t;
      text = if bare == null then t else builtins.head bare;
      parts = builtins.match "([-0-9]+[T ][0-9]+:[0-9]+)(:[0-9]+)?([.,][0-9]+)?(.*)" text;
      part = builtins.elemAt parts;
    in
    if !builtins.isString t then
      t
    else if parts == null then
      text
    else
      part 0 + (if part 1 == null then ":00" else part 1) + part 3;

  optionalAttrs = condition: attrs: if condition then attrs else { };

  # A package of nixpkgs.
  package =
    pkgs: name:
    if pkgs == null then
      throw "varve: this needs ${name}: pass pkgs, or ${name} alone, to varve's functions"
    else
      pkgs.${name};

  # The arguments that nixpkgs' dockerTools has or has had.
  dockerToolsArguments = [
    "bash"
    "bashInteractive"
    "buildPackages"
    "cacert"
    "callPackage"
    "closureInfo"
    "coreutils"
    "devShellTools"
    "docker"
    "dockerAutoLayer"
    "dockerMakeLayers"
    "e2fsprogs"
    "fakechroot"
    "fakeNss"
    "fakeroot"
    "file"
    "go"
    "jq"
    "jshon"
    "lib"
    "makeWrapper"
    "moreutils"
    "nix"
    "nixosTests"
    "perl"
    "pigz"
    "pkgs"
    "proot"
    "referencesByPopularity"
    "rsync"
    "runCommand"
    "runtimeShell"
    "shadow"
    "skopeo"
    "stdenv"
    "storeDir"
    "substituteAll"
    "symlinkJoin"
    "tarsum"
    "util-linux"
    "vmTools"
    "writeClosure"
    "writePython3"
    "writeReferencesToFile"
    "writeScript"
    "writeShellScriptBin"
    "writeText"
    "writeTextDir"
    "zstd"
  ];

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
