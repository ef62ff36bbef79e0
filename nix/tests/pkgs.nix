# A stand-in for nixpkgs, made of this Debian machine's programs: real programs
# with their libraries, moved into the store by patchelf, and the few functions
# that dockerTools' examples call. debian is what debian.sh prints, parsed.
{
  debian,
  system ? builtins.currentSystem,
}@args:
let
  sources = builtins.mapAttrs (name: path: builtins.path { inherit name path; });

  # Static, so that it runs before there is anything else. It wants to be called
  # busybox, which no store path is: hence the directory.
  busyboxProgram =
    let
      program = debian.busybox.bin.busybox;
    in
    builtins.path {
      name = "busybox-program";
      path = dirOf program;
      filter = path: _: path == program;
    }
    + "/busybox";

  # A derivation whose builder is busybox's shell; attributes become variables. Its
  # last command is the shell's own: Nix kills a builder that closes its standard
  # output before it exits, as coreutils' programs do.
  runBusybox =
    name: attrs: script:
    derivation (
      {
        inherit name system;
        builder = busyboxProgram;
        args = [
          "sh"
          "-euc"
          ''
            export PATH=$NIX_BUILD_TOP/.bin
            ${busyboxProgram} mkdir -p $PATH
            ${busyboxProgram} --install -s $PATH
            ${script}
            exit 0
          ''
        ];
      }
      // attrs
    );

  copyAll =
    files: target:
    builtins.concatStringsSep "" (
      map (name: "cp ${files.${name}} ${target}/${name}\n") (builtins.attrNames files)
    );

  glibc = runBusybox "glibc-2" { } ''
    mkdir -p $out/lib
    ${copyAll (sources debian.glibc.lib) "$out/lib"}
    chmod 555 $out/lib/*
  '';
  interpreter = "${glibc}/lib/${debian.glibc.interpreter}";

  patchelf =
    let
      libraries = runBusybox "patchelf-libraries" { } ''
        mkdir $out
        ${copyAll (sources debian.patchelf.lib) "$out"}
      '';
    in
    "${interpreter} --library-path ${glibc}/lib:${libraries} ${(sources debian.patchelf.bin).patchelf}";

  # A Debian program with its libraries, as if it had been built for the store.
  package =
    name: links:
    runBusybox "${name}-1" { } ''
      mkdir -p $out/bin $out/lib
      ${copyAll (sources debian.${name}.lib) "$out/lib"}
      ${copyAll (sources debian.${name}.bin) "$out/bin"}
      chmod 755 $out/bin/* $out/lib/* 2>/dev/null || true
      for file in $out/lib/*; do
        [ ! -f $file ] || ${patchelf} --set-rpath $out/lib:${glibc}/lib $file
      done
      for file in $out/bin/*; do
        ${patchelf} --set-interpreter ${interpreter} --set-rpath $out/lib:${glibc}/lib $file
      done
      rmdir $out/lib 2>/dev/null || true
      ${builtins.concatStringsSep "" (
        map (link: "ln -s ${links.${link}} $out/bin/${link}\n") (builtins.attrNames links)
      )}
    '';

  packages = builtins.mapAttrs package {
    bash.sh = "bash";
    coreutils = { };
    findutils = { };
    gnugrep = { };
    gnused = { };
    mg = { };
    nano = { };
    nginx = { };
    nix = {
      nix-build = "nix";
      nix-daemon = "nix";
      nix-instantiate = "nix";
      nix-store = "nix";
    };
    redis = { };
    shadow = { };
    vim.vi = "vim.tiny";
  };

  busybox = runBusybox "busybox-1" { } ''
    mkdir -p $out/bin
    cp ${busyboxProgram} $out/bin/busybox
    chmod 755 $out/bin/busybox
    for applet in $(busybox --list); do
      [ $applet = busybox ] || ln -s busybox $out/bin/$applet
    done
  '';

  # A package that is built from something, for nix-shell images.
  hello = runBusybox "hello-1" { src = (sources debian.hello.bin).hello; prefix = builtins.placeholder "out"; } ''
    mkdir -p $prefix/bin
    cp $src $prefix/bin/hello
    chmod 755 $out/bin/hello
    ${patchelf} --set-interpreter ${interpreter} --set-rpath ${glibc}/lib $out/bin/hello
  '';

  writeFile =
    mode: name: destination: text:
    runBusybox name
      {
        inherit text;
        passAsFile = [ "text" ];
      }
      ''
        target=$out${destination}
        mkdir -p $(dirname $target)
        cp $textPath $target
        chmod ${mode} $target
      '';

  initialPath = [
    packages.coreutils
    packages.findutils
    packages.gnugrep
    packages.gnused
    packages.bash
  ];

  # As much of nixpkgs' stdenv as nix-shell reads.
  setup = writeFile "644" "stdenv-1" "/setup" ''
    export PATH=
    for package in ''${nativeBuildInputs-} ''${buildInputs-} ${toString initialPath}; do
      PATH=''${PATH:+$PATH:}$package/bin
    done
    export SHELL=${packages.bash}/bin/bash
    runHook() {
      local hook=$1
      if [ -n "''${!hook-}" ]; then eval "''${!hook}"; fi
    }
  '';
in
packages
// rec {
  inherit hello busybox glibc;
  bashInteractive = packages.bash;
  runtimeShell = "${packages.bash}/bin/bash";
  pkgsStatic.busybox = busybox;

  stdenv = {
    inherit initialPath;
    shell = runtimeShell;
    buildPlatform.system = system;
    hostPlatform.system = system;
  };

  # No compiler is at hand, and nothing runs this hello.
  pkgsCross.aarch64-multiplatform = import ./pkgs.nix args // {
    stdenv = stdenv // {
      hostPlatform.system = "aarch64-linux";
    };
    hello = writeScriptBin "hello" "for aarch64\n";
  };

  cacert = runBusybox "cacert-1" { } ''
    mkdir -p $out/etc/ssl/certs
    cp ${
      builtins.path {
        name = "ca-certificates.crt";
        path = debian.certificates;
      }
    } $out/etc/ssl/certs/ca-bundle.crt
  '';

  # attrs are variables of the script, which bash runs.
  runCommand =
    name: attrs: script:
    derivation (
      {
        inherit name system;
        builder = runtimeShell;
        args = [
          "-euc"
          "source ${setup}/setup\n${script}\nexit 0"
        ];
      }
      // attrs
    );

  writeText = name: writeFile "644" name "";
  writeScript = name: writeFile "755" name "";
  writeTextDir = path: writeFile "644" (baseNameOf path) "/${path}";
  writeScriptBin = name: writeFile "755" name "/bin/${name}";

  buildEnv =
    {
      name,
      paths,
      pathsToLink ? [ "/" ],
    }:
    runCommand name { } ''
      mkdir $out
      for path in ${toString paths}; do
        for below in ${toString pathsToLink}; do
          [ -e $path$below ] || continue
          (cd $path$below && find -L . -type d) | while read -r dir; do mkdir -p $out$below/$dir; done
          (cd $path$below && find -L . ! -type d) | while read -r file; do
            [ -e $out$below/$file ] || ln -s $(realpath -s $path$below/$file) $out$below/$file
          done
        done
      done
    '';

  mkShell =
    attrs:
    runBusybox "nix-shell" (
      {
        stdenv = setup;
        outputs = [ "out" ];
      }
      // attrs
    ) "touch $out";
}
