# Images of a single layer, and that layer.
{
  lib,
  run,
  writeText,
  withClosure,
  architecture,
  shell,
  path,
  coreutils,
  runtimeShell,
  strict,
  extension,
  runner,
  writeSpec,
  configOf,
  orNull,
  tagOf,
  finish,
  layoutOf,
  removes,
  ...
}:
let
  defaultArchitecture = architecture;

  # What buildImage's layer is made of. Its root directory is as nixpkgs makes it:
  # the group may write to it, and with runAsRoot only where something was copied.
  singleLayer =
    {
      name,
      copyToRoot,
      keepContentsDirlinks,
      extraCommands,
      runAsRoot ? null,
      uid ? 0,
      gid ? 0,
    }:
    let
      copied = lib.toList copyToRoot;
      writable = condition: root: if condition then "chmod ug+w ${root}; " else "";
    in
    {
      inherit keepContentsDirlinks uid gid;
      layering = "single";
      layerFormat = 1;
      copyToRoot = copied;
      conflicts = "last";
    }
    // (
      if lib.given runAsRoot then
        {
          runAsRoot = writable (copied != [ ]) "/" + runAsRoot;
          extraCommands = strict extraCommands;
        }
        // runner [ runAsRoot ] runtimeShell [
          coreutils
          ""
        ]
      else
        {
          extraCommands = strict (writable (lib.given extraCommands) "." + extraCommands);
          perms = [
            (
              {
                path = "/";
                inherit uid gid;
              }
              // lib.optionalAttrs (!lib.given extraCommands) { mode = "0775"; }
            )
          ];
        }
        // runner [ extraCommands ] shell path
    );

  buildImage = lib.overridable (
    {
      name,
      tag ? null,
      fromImage ? null,
      fromImageName ? null,
      fromImageTag ? null,
      copyToRoot ? null,
      keepContentsDirlinks ? false,
      config ? null,
      architecture ? defaultArchitecture,
      variant ? null,
      extraCommands ? "",
      uid ? 0,
      gid ? 0,
      runAsRoot ? null,
      diskSize ? 1024,
      buildVMMemorySize ? 512,
      created ? "1970-01-01T00:00:01Z",
      compressor ? "gz",
      includeNixDB ? false,
      contents ? null,
      remove ? [ ],
      meta ? { },
    }@args:
    let
      copied =
        if contents == null then
          copyToRoot
        else if copyToRoot != null then
          throw "in image ${name}: contents is the old name of copyToRoot: give one of them"
        else
          lib.warn "in image ${name}: contents is the old name of copyToRoot" contents;
      made = {
        inherit
          name
          keepContentsDirlinks
          extraCommands
          runAsRoot
          uid
          gid
          ;
        copyToRoot = copied;
      };
      based = {
        fromImage = orNull fromImage;
        inherit diskSize buildVMMemorySize;
      }
      // lib.choice "in image ${name}" fromImageName fromImageTag
      // removes remove;
      described = {
        config = configOf name config;
        created = lib.time created;
        inherit architecture;
      }
      // lib.optionalAttrs (variant != null) { inherit variant; };
      spec = writeSpec name (
        singleLayer made // based // described // { inherit name compressor includeNixDB; }
      );
      imageTag = tagOf tag spec;
      image = run "docker-image-${baseNameOf name}.tar${extension compressor name}" (
        {
          action = "image";
          inherit spec;
          tag = imageTag;
        }
        // withClosure spec
      );
    in
    finish {
      inherit
        image
        name
        imageTag
        meta
        ;
      passthru = {
        inherit spec;
        buildArgs = args;
        ociLayout = layoutOf name image compressor;
        layer = layerOf {
          name = baseNameOf name;
          spec = singleLayer made // based // { inherit includeNixDB; };
          baseJson = writeText "${baseNameOf name}-config.json" (
            builtins.toJSON (described // { os = "linux"; })
          );
        };
      };
    }
  );

  # A layer as buildImage makes it, without the store paths that it mentions:
  # layer.tar, its SHA-256 in checksum, VERSION, and in json what baseJson has and
  # the tar's TarSum.
  layerOf =
    {
      name,
      spec,
      baseJson,
    }:
    let
      file = writeSpec name (spec // { includeStorePaths = false; });
    in
    run "docker-layer-${name}" (
      {
        action = "top";
        spec = file;
        tag = "layer";
        inherit baseJson;
      }
      // withClosure file
    );

  mkPureLayer =
    {
      name,
      baseJson,
      copyToRoot ? null,
      keepContentsDirlinks ? false,
      extraCommands ? "",
      uid ? 0,
      gid ? 0,
    }@args:
    layerOf {
      inherit name baseJson;
      spec = singleLayer (
        {
          inherit copyToRoot keepContentsDirlinks extraCommands;
        }
        // removeAttrs args [ "baseJson" ]
      );
    };

  mkRootLayer =
    {
      name,
      runAsRoot,
      copyToRoot ? null,
      keepContentsDirlinks ? false,
      baseJson,
      fromImage ? null,
      fromImageName ? null,
      fromImageTag ? null,
      diskSize ? 1024,
      buildVMMemorySize ? 512,
      extraCommands ? "",
    }:
    layerOf {
      inherit name baseJson;
      spec =
        singleLayer {
          inherit
            name
            copyToRoot
            keepContentsDirlinks
            extraCommands
            runAsRoot
            ;
        }
        // {
          fromImage = orNull fromImage;
          inherit diskSize buildVMMemorySize;
        }
        // lib.choice "in layer ${name}" fromImageName fromImageTag;
    };
in
{
  inherit buildImage mkPureLayer mkRootLayer;

  buildImageWithNixDb = args: buildImage (args // { includeNixDB = true; });
}
