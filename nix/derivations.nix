# Derivations that varve builds: `varve nix-build` reads their attributes.
{
  lib,
  program,
  system,
  ...
}:
rec {
  # A derivation: what to do is in attrs.action.
  run =
    name: attrs:
    make (
      {
        inherit name system;
        builder = program;
        args = [
          "nix-build"
          "--progress=none"
        ];
        __structuredAttrs = true;
        preferLocalBuild = true;
      }
      // attrs
    );

  # As stdenv's, a derivation and each of its outputs have outputs, passthru, meta,
  # overrideAttrs and inputDerivation, which no builder sees.
  make =
    {
      passthru ? { },
      meta ? { },
      ...
    }@attrs:
    let
      own = removeAttrs attrs [
        "passthru"
        "meta"
      ];
      drv = derivation own;
      outputs = attrs.outputs or [ "out" ];
      byName = builtins.listToAttrs (
        map (name: {
          inherit name;
          value = drv.${name} // { outputSpecified = true; } // more;
        }) outputs
      );
      more =
        byName
        // passthru
        // {
          inherit passthru meta outputs;
          all = map (name: byName.${name}) outputs;
          inputDerivation = inputsOf own;
          overrideAttrs = new: make (lib.changed new ({ inherit passthru meta; } // attrs));
        };
    in
    drv // more;

  # What can always be built, and refers to all that attrs do.
  inputsOf =
    attrs:
    derivation {
      inherit (attrs)
        system
        builder
        args
        __structuredAttrs
        ;
      name = "inputDerivation-${attrs.name}";
      action = "files";
      files."".text = builtins.toJSON attrs;
    };

  # Files by their names: { text, executable ? false } or { link }. The name "" is
  # the output itself.
  writeFiles =
    name: files:
    run name {
      action = "files";
      inherit files;
    };

  writeText = name: text: writeFiles name { "".text = text; };

  # A program that calls varve, and passes its own arguments on.
  writeProgram =
    name: file: args:
    writeFiles name {
      ${file} = {
        text = "${lib.firstLine program "nix-run"}\n${builtins.toJSON { inherit args; }}\n";
        executable = true;
      };
    };

  # What Nix found that a file refers to goes to the builder as a graph. A spec
  # mentions all that its image needs.
  withClosure = file: { exportReferencesGraph.closure = [ file ]; };
}
