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

  # As stdenv's, a derivation has passthru, meta and overrideAttrs, which no builder
  # sees.
  make =
    {
      passthru ? { },
      meta ? { },
      ...
    }@attrs:
    derivation (
      removeAttrs attrs [
        "passthru"
        "meta"
      ]
    )
    // passthru
    // {
      inherit passthru meta;
      overrideAttrs = new: make (lib.changed new ({ inherit passthru meta; } // attrs));
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
