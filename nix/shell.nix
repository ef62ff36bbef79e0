# Images that are to a derivation what nix-shell is: its environment, and a
# command that builds it.
{
  lib,
  writeText,
  writeFiles,
  bashInteractive,
  cacert,
  hasCacert,
  storeDir,
  streamLayeredImage,
  archiveOf,
  binSh,
  usrBinEnv,
  fakeNss,
  ...
}:
let
  # Where Nix's sandbox builds.
  buildDir = "/build";

  # What a Nix without a daemon writes to; it belongs to who uses Nix.
  nixDirs = [
    (dirOf storeDir)
    "${dirOf storeDir}/var"
    "${dirOf storeDir}/var/nix"
    "/etc/nix"
  ];

  # The value of a variable, as Nix makes it of an attribute: paths are copied to
  # the store, which toString would not do.
  variable =
    value:
    if builtins.isPath value then
      "${value}"
    else if builtins.isList value then
      toString (map variable value)
    else
      toString value;

  # A text of drv with its outputs' paths in the place of builtins.placeholder's
  # texts, which Nix would take for those of the image's own derivations. The
  # outputs need not be there.
  filled =
    drv:
    let
      outputs = drv.outputs or [ "out" ];
    in
    builtins.replaceStrings (map builtins.placeholder outputs) (
      map (name: builtins.unsafeDiscardStringContext drv.${name}.outPath) outputs
    );

  # What a builder of drv has in its environment, but for what is so in every
  # build.
  attributes =
    drv:
    let
      asFile = drv.drvAttrs.passAsFile or [ ];
      one =
        name:
        let
          value = filled drv (variable drv.drvAttrs.${name});
        in
        if builtins.elem name asFile then
          {
            name = "${name}Path";
            value = writeText "pass-as-file-${name}" value;
          }
        else
          { inherit name value; };
      # Outputs are where they will be; they need not be there.
      output = name: {
        inherit name;
        value = builtins.unsafeDiscardStringContext drv.${name}.outPath;
      };
      ignored = name: drv.drvAttrs.__ignoreNulls or false && drv.drvAttrs.${name} == null;
      own = builtins.filter (name: name != "args" && name != "__ignoreNulls" && !ignored name) (
        builtins.attrNames drv.drvAttrs
      );
    in
    builtins.listToAttrs (map one own) // builtins.listToAttrs (map output (drv.outputs or [ "out" ]));

  environment =
    {
      drv,
      homeDirectory,
      path,
    }:
    {
      HOME = homeDirectory;
      NIX_BUILD_CORES = "1";
      NIX_STORE = storeDir;
      PATH = path;
    }
    // lib.optionalAttrs hasCacert rec {
      SSL_CERT_FILE = "${cacert}/etc/ssl/certs/ca-bundle.crt";
      NIX_SSL_CERT_FILE = SSL_CERT_FILE;
    }
    // attributes drv
    // {
      NIX_BUILD_TOP = buildDir;
      PWD = buildDir;
      TEMP = buildDir;
      TEMPDIR = buildDir;
      TERM = "xterm-256color";
      TMP = buildDir;
      TMPDIR = buildDir;
    };

  # What the shell reads first: nix-build.cc of Nix has the original.
  rcfile =
    {
      shell,
      path,
      last,
    }:
    writeText "nix-shell-rc" ''
      unset PATH
      dontAddDisableDepTrack=1
      [ -e $stdenv/setup ] && source $stdenv/setup
      PATH=${lib.quote path}:"$PATH"
      SHELL=${lib.quote shell}
      BASH=${lib.quote shell}
      set +e
      [ -n "$PS1" -a -z "$NIX_SHELL_PRESERVE_PROMPT" ] && PS1='\n\[\033[1;32m\][nix-shell:\w]\$\[\033[0m\] '
      if [ "$(type -t runHook)" = function ]; then
        runHook shellHook
      fi
      unset NIX_ENFORCE_PURITY
      shopt -u nullglob
      shopt -s execfail
      ${if last == null then "" else "${last}\nexit"}
    '';

  streamNixShellImage = lib.overridable (
    {
      drv,
      name ? drv.name + "-env",
      tag ? null,
      uid ? 1000,
      gid ? 1000,
      homeDirectory ? buildDir,
      shell ? bashInteractive + "/bin/bash",
      command ? null,
      run ? null,
    }:
    let
      words = map (word: lib.quote (filled drv (variable word))) ([ drv.drvAttrs.builder ] ++ drv.drvAttrs.args or [ ]);
      builder = writeFiles "buildDerivation" {
        "bin/buildDerivation" = {
          text = "#!/bin/sh\nexec ${builtins.concatStringsSep " " words}\n";
          executable = true;
        };
      };
      path = "${dirOf shell}:${builder}/bin";
      rc = rcfile {
        inherit shell path;
        last = if command != null then command else run;
      };
      variables = environment { inherit drv homeDirectory path; };
      ids = "${toString uid}:${toString gid}";
      directories = [
        storeDir
        buildDir
      ]
      ++ nixDirs;
    in
    if drv.drvAttrs.__structuredAttrs or false then
      throw "streamNixShellImage: ${drv.name} has __structuredAttrs, which a shell's environment cannot hold"
    else if command != null && run != null then
      throw "streamNixShellImage: command and run say the same for two kinds of shells: give one of them"
    else
      streamLayeredImage {
        inherit name tag;
        contents = [
          binSh
          usrBinEnv
          (fakeNss.override {
            extraPasswdLines = [ "nixbld:x:${ids}:Build user:${homeDirectory}:/noshell" ];
            extraGroupLines = [ "nixbld:!:${toString gid}:" ];
          })
          (writeFiles "nix-shell-directories" (
            builtins.listToAttrs (
              map (dir: {
                name = lib.relative dir;
                value.directory = true;
              }) directories
            )
          ))
        ];
        # Everybody may make store paths. The user's is where it builds, and Nix.
        perms = map (path: { inherit path uid gid; }) directories ++ [
          {
            path = storeDir;
            mode = "1777";
          }
        ];
        config = {
          User = ids;
          WorkingDir = buildDir;
          Cmd =
            if run == null then
              [
                shell
                "--rcfile"
                rc
              ]
            else
              [
                shell
                rc
              ];
          Env = map (name: "${name}=${variables.${name}}") (builtins.attrNames variables);
        };
      }
  );
in
{
  inherit streamNixShellImage;

  buildNixShellImage = lib.overridable (
    {
      drv,
      compressor ? "gz",
      ...
    }@args:
    archiveOf {
      stream = streamNixShellImage (removeAttrs args [ "compressor" ]);
      name = "${drv.name}-env";
      inherit compressor;
    }
  );
}
