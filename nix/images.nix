# Images, their layers and archives.
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
  coreutils,
  runtimeShell,
  cacert,
  hasCacert,
  storeDir,
  ...
}@context:
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

  # To dockerTools an empty text is no image.
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
    ] then
      layering
    else
      throw "in image ${name}: layering ${builtins.toJSON layering}: expected auto or popularity";

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
      perms ? [ ],
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
            config
            architecture
            created
            mtime
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
          closureRoots = "image";
          fromImage = orNull fromImage;
          maxLayers = atMost name maxLayers;
          extraCommands = strict extraCommands;
          fakeRootCommands = strict fakeRootCommands;
          contents = lib.toList contents;
          layers = builtLayers layers;
          conflicts = "first";
        }
        // runner [ extraCommands fakeRootCommands ] shell path
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
      meta ? { },
    }@args:
    let
      copied =
        if contents == null then
          copyToRoot
        else if copyToRoot != null then
          throw "in image ${name}: contents is the old name of copyToRoot: give one of them"
        else
          builtins.trace "warning: in image ${name}: contents is the old name of copyToRoot" contents;
      spec = writeSpec name (
        {
          inherit
            name
            fromImageName
            fromImageTag
            keepContentsDirlinks
            config
            architecture
            uid
            gid
            runAsRoot
            diskSize
            buildVMMemorySize
            created
            compressor
            includeNixDB
            ;
          fromImage = orNull fromImage;
          extraCommands = strict extraCommands;
          layering = "single";
          copyToRoot = lib.toList copied;
          conflicts = "last";
        }
        // (
          if runAsRoot == null || runAsRoot == "" then
            runner [ extraCommands ] shell path
          else
            runner [ runAsRoot ] runtimeShell [
              coreutils
              ""
            ]
        )
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
        # The image's own layer: layer.tar, and its SHA-256 in checksum.
        layer = run "docker-layer-${baseNameOf name}" (
          {
            action = "top";
            inherit spec;
            tag = imageTag;
          }
          // withClosure spec
        );
      };
    }
  );

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
          mtime
          uid
          gid
          uname
          gname
          ;
        layers = builtLayers layers ++ [
          {
            contents = lib.toList contents;
            copyToRoot = lib.toList copyToRoot;
            inherit keepContentsDirlinks perms;
          }
        ];
        closureRoots = "image";
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

  # One of an archive's images, or what is first in it.
  chosen =
    image: name: tag:
    if (name == null) != (tag == null) then
      throw "fromImageName and fromImageTag choose an image together: give both or neither"
    else if name == null then
      image
    else
      "docker-archive:${image}:${name}:${tag}";

  # The output's hash, which may be in one of these attributes. Nix takes an empty
  # one for one to be found out.
  fixed =
    where:
    {
      hash,
      sha256,
      outputHash,
      outputHashAlgo,
    }:
    let
      none = v: v == null || v == "";
      given = builtins.filter (one: !none one.outputHash) [
        { outputHash = hash; }
        {
          outputHash = sha256;
          outputHashAlgo = "sha256";
        }
        ({ inherit outputHash; } // lib.optionalAttrs (!none outputHashAlgo) { inherit outputHashAlgo; })
      ];
      unknown = {
        outputHash = "";
        outputHashAlgo = "sha256";
      };
    in
    if builtins.length given > 1 then
      throw "${where}: hash, sha256 and outputHash say the same: give one of them"
    else
      builtins.head (given ++ [ unknown ]);

  withNixDb = build: args: build (args // { includeNixDB = true; });
in
{
  inherit streamLayeredImage buildLayeredImage buildImage buildLayer archiveOf;

  buildImageWithNixDb = withNixDb buildImage;
  buildLayeredImageWithNixDb = withNixDb buildLayeredImage;

  # One archive of several.
  mergeImages =
    images:
    run "merge-docker-images" {
      action = "merge";
      images = lib.toList images;
      compressor = "gz";
    };

  # The root file system of an image as a tar.
  exportImage =
    {
      name ? fromImage.name,
      fromImage,
      fromImageName ? null,
      fromImageTag ? null,
      diskSize ? 1024,
      buildVMMemorySize ? 512,
    }:
    run name {
      action = "export";
      image = chosen fromImage fromImageName fromImageTag;
      mtime = epoch;
    };

  # Scripts that work with an image's file system in mnt, and with what they change
  # of it in layer: before it is there, while, and afterwards. The file deleted lists
  # what they deleted of it.
  runWithOverlay =
    {
      name,
      fromImage ? null,
      fromImageName ? null,
      fromImageTag ? null,
      diskSize ? 1024,
      buildVMMemorySize ? 512,
      preMount ? "",
      postMount ? "",
      postUmount ? "",
    }:
    run name (
      {
        action = "overlay";
        image = chosen fromImage fromImageName fromImageTag;
        mtime = epoch;
        preMount = strict preMount;
        postMount = strict postMount;
        postUmount = strict postUmount;
      }
      // runner [ preMount postMount postUmount ] shell path
    );

  # An image of a registry, by its digest. The archive is the one that skopeo
  # makes, so that hashes stay valid.
  pullImage =
    {
      imageName,
      imageDigest,
      sha256 ? null,
      hash ? null,
      outputHash ? null,
      outputHashAlgo ? null,
      os ? "linux",
      arch ? defaultArchitecture,
      finalImageName ? imageName,
      finalImageTag ? "latest",
      tlsVerify ? true,
      name ? builtins.replaceStrings [ "/" ":" ] [ "-" "-" ]
        "docker-image-${finalImageName}-${finalImageTag}.tar",
    }:
    run name (
      {
        action = "pull";
        reference = "${imageName}@${imageDigest}";
        repoTag = "${finalImageName}:${finalImageTag}";
        platform = "${os}/${arch}";
        insecure = !tlsVerify;
        caFile = if hasCacert then "${cacert}/etc/ssl/certs/ca-bundle.crt" else "";
        passthru = {
          inherit imageName;
          imageTag = finalImageTag;
        };
        outputHashMode = "flat";
        impureEnvVars = [
          "http_proxy"
          "https_proxy"
          "ftp_proxy"
          "all_proxy"
          "no_proxy"
          "HTTP_PROXY"
          "HTTPS_PROXY"
          "NO_PROXY"
          "REGISTRY_AUTH_FILE"
          "DOCKER_CONFIG"
        ];
      }
      // fixed "pullImage ${imageName}" {
        inherit
          hash
          sha256
          outputHash
          outputHashAlgo
          ;
      }
    );
}
