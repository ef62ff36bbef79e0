# Images of many layers, and layers by themselves.
{
  lib,
  run,
  writeText,
  writeProgram,
  withClosure,
  program,
  architecture,
  shell,
  path,
  storeDir,
  ...
}:
let
  defaultArchitecture = architecture;

  # The time of files in top layers: SOURCE_DATE_EPOCH of nixpkgs' stdenv.
  epoch = 315532800;

  extensions = {
    none = "";
    gz = ".gz";
    zstd = ".zst";
  };
  extension =
    compressor: name:
    extensions.${builtins.head (builtins.split ":" compressor)}
      or (throw "in image ${name}: compressor ${compressor}: expected none, gz or zstd");

  # A script as stdenv would run it, by bash with these options.
  strict =
    script:
    if script == null || script == "" then
      script
    else
      ''if [ -n "''${BASH_VERSION-}" ]; then set -o pipefail; shopt -s inherit_errexit; fi; ${script}'';

  # A text is to Docker a list of one, and to other runtimes nothing.
  lists = [
    "Cmd"
    "cmd"
    "Entrypoint"
    "entrypoint"
    "Shell"
    "shell"
  ];
  configOf =
    name: config:
    let
      isText = v: builtins.isString v || builtins.isPath v || builtins.isAttrs v && v ? outPath;
      one =
        key: value:
        if builtins.elem key lists && isText value then
          lib.warn "in image ${name}: config.${key} is not a list, and becomes one of a single word: write [ … ]" [ value ]
        else
          value;
    in
    if config == null then null else builtins.mapAttrs one config;

  # What runs the scripts of an image, where it has any.
  runner =
    scripts: shell: path:
    lib.optionalAttrs (builtins.any (s: s != null && s != "") scripts) {
      inherit shell;
      path = if path == [ ] then null else builtins.concatStringsSep ":" (map (p: "${p}/bin") path);
    };

  # The spec as varve takes it. Nix finds in it what the image needs.
  writeSpec =
    name: attrs:
    writeText "${baseNameOf name}-spec.json" (
      builtins.toJSON (
        {
          inherit name storeDir;
          "inherit" = "env";
          treeMtime = "@${toString epoch}";
        }
        // attrs
      )
    );

  # Attributes that dockerTools' images have, and programs that take the image
  # elsewhere.
  finish =
    {
      image,
      name,
      imageTag,
      passthru ? image.passthru,
      meta ? image.meta,
    }:
    let
      base = baseNameOf name;
      names = {
        imageName = lib.lower name;
        inherit imageTag;
      };
      finished = image.overrideAttrs {
        passthru = passthru // names;
        inherit meta;
      };
      app =
        command:
        writeProgram "${command}-${base}" "bin/${command}-${base}" [
          command
          finished
        ]
        // {
          meta.mainProgram = "${command}-${base}";
        };
      flakeApp = command: {
        type = "app";
        program = "${app command}/bin/${command}-${base}";
      };
    in
    finished
    // names
    // {
      load = app "load";
      push = app "push";
      # For a flake's apps.
      apps = {
        load = flakeApp "load";
        push = flakeApp "push";
      };
      overrideAttrs =
        new:
        finish {
          image = finished.overrideAttrs new;
          inherit name imageTag;
        };
    };

  # Without a tag an image gets one that stands for all that it is made of. It is
  # the hash of the spec's path and not of the image's own, which is another one
  # while nix-build --check builds it.
  tagOf = tag: spec: if tag == null then lib.hashPart spec else toString tag;

  # To dockerTools an empty text is not an image.
  orNull = image: if image == "" then null else image;

  # More layers than Docker can have are as many as it can.
  mostLayers = 127;
  atMost =
    name: layers:
    if layers == null || layers <= mostLayers then
      layers
    else
      builtins.trace "warning: in image ${name}: maxLayers is ${toString layers}; Docker runs images of at most ${toString mostLayers} layers, so that many it is" mostLayers;

  # How store paths are spread over the layers of an image that has several.
  divides =
    name: layering:
    if builtins.elem layering [
      "auto"
      "popularity"
      "stable"
    ] then
      layering
    else
      throw "in image ${name}: layering ${builtins.toJSON layering}: expected auto, popularity or stable";

  # What holds the plan of layering = "stable": a layers.lock, or the file or the program of an image.
  # A text would be an image that may be another one tomorrow, or a file that the sandbox lacks.
  plan =
    name: previous:
    if !lib.given previous then
      null
    else if builtins.isPath previous || previous ? outPath || builtins.hasContext (toString previous) then
      "${previous}"
    else
      throw "in image ${name}: previous ${builtins.toJSON previous}: expected a layers.lock or an image, as a path or a derivation";

  # The globs of what an image removes. Without any the spec, whose hash is the tag,
  # does not mention it.
  removes = globs: lib.optionalAttrs (lib.toList globs != [ ]) { remove = lib.toList globs; };

  builtLayers = layers: map (layer: { built = layer; }) (lib.toList layers);

  # The image as an OCI layout, its layers compressed.
  layoutOf =
    name: image: compressor:
    run "${baseNameOf name}-oci" {
      action = "layout";
      inherit image;
      compressor = if compressor == "none" then "gz" else compressor;
    };

  streamLayeredImage = lib.overridable (
    {
      name,
      tag ? null,
      fromImage ? null,
      contents ? [ ],
      config ? { },
      architecture ? defaultArchitecture,
      variant ? null,
      created ? "1970-01-01T00:00:01Z",
      mtime ? "1970-01-01T00:00:01Z",
      uid ? 0,
      gid ? 0,
      uname ? "root",
      gname ? "root",
      maxLayers ? 100,
      extraCommands ? "",
      fakeRootCommands ? "",
      enableFakechroot ? false,
      includeStorePaths ? true,
      includeNixDB ? false,
      layering ? "auto",
      layeringPipeline ? null,
      previous ? null,
      perms ? [ ],
      remove ? [ ],
      layers ? [ ],
      debug ? false,
      passthru ? { },
      meta ? { },
    }:
    let
      spec = writeSpec name (
        {
          inherit
            name
            architecture
            variant
            uid
            gid
            uname
            gname
            enableFakechroot
            includeStorePaths
            includeNixDB
            layeringPipeline
            perms
            ;
          layering = divides name layering;
          previous = plan name previous;
          closureRoots = "image";
          layerFormat = 1;
          fromImage = orNull fromImage;
          maxLayers = atMost name maxLayers;
          extraCommands = strict extraCommands;
          fakeRootCommands = strict fakeRootCommands;
          config = configOf name config;
          created = lib.time created;
          mtime = lib.time mtime;
          contents = lib.toList contents;
          layers = builtLayers layers;
          conflicts = "first";
        }
        // runner [ extraCommands fakeRootCommands ] shell path
        // removes remove
      );
      imageTag = tagOf tag spec;
      image = run "stream-${baseNameOf name}" (
        {
          action = "stream";
          outputs = [
            "out"
            "layer"
          ];
          inherit spec;
          tag = imageTag;
          # The first line of the program that is built.
          varve = builtins.seq (lib.firstLine program "stream") program;
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
      passthru = passthru // {
        inherit spec;
        isExe = true;
        ociLayout = layoutOf name image "gz";
      };
    }
  );

  buildLayeredImage = lib.overridable (
    {
      name,
      compressor ? "gz",
      ...
    }@args:
    archiveOf {
      stream = streamLayeredImage (removeAttrs args [ "compressor" ]);
      inherit name compressor;
      meta = args.meta or { };
      passthru = args.passthru or { };
    }
  );

  # The archive that a stream writes, compressed.
  archiveOf =
    {
      stream,
      name,
      compressor,
      passthru ? { },
      meta ? { },
    }:
    finish {
      image = run "${baseNameOf name}.tar${extension compressor name}" {
        action = "archive";
        image = stream;
        inherit compressor;
      };
      inherit meta;
      inherit (stream) imageTag;
      name = stream.imageName;
      passthru = passthru // {
        inherit stream;
        inherit (stream) spec layer;
        ociLayout = layoutOf name stream compressor;
      };
    };

  # A layer as a derivation of its own, so that Nix keeps it and any number of
  # images can have it. What is in layers, which are such layers too, is left out.
  buildLayer =
    {
      name ? "layer",
      contents ? [ ],
      copyToRoot ? null,
      keepContentsDirlinks ? false,
      perms ? [ ],
      layers ? [ ],
      mtime ? "1970-01-01T00:00:01Z",
      uid ? 0,
      gid ? 0,
      uname ? "root",
      gname ? "root",
    }:
    let
      spec = writeSpec name {
        inherit
          name
          uid
          gid
          uname
          gname
          ;
        mtime = lib.time mtime;
        layers = builtLayers layers ++ [
          {
            contents = lib.toList contents;
            copyToRoot = lib.toList copyToRoot;
            inherit keepContentsDirlinks perms;
          }
        ];
        closureRoots = "image";
        layerFormat = 1;
        conflicts = "first";
      };
    in
    run (baseNameOf name) (
      {
        action = "layer";
        inherit spec;
        tag = "layer";
      }
      // withClosure spec
    );
in
{
  tools = {
    inherit streamLayeredImage buildLayeredImage buildLayer;
    buildLayeredImageWithNixDb = args: buildLayeredImage (args // { includeNixDB = true; });
  };

  # What other images are made with.
  means = {
    inherit
      archiveOf
      epoch
      strict
      extension
      runner
      writeSpec
      configOf
      orNull
      tagOf
      finish
      layoutOf
      removes
      ;
  };
}
