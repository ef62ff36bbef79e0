# The images that nixpkgs has as dockerTools.examples, by the same names. Each
# shows one thing; all are built, and most are run, by the tests.
{
  tools,
  # The functions for another nixpkgs.
  toolsFor,
  pkgs,
  # What pullImage is to fetch.
  pulled ? {
    imageName = "nixos/nix";
    imageDigest = "sha256:85299d86263a3059cf19f419f9d286cc9f06d3c13146a8ebbb21b3437f598357";
    hash = "sha256-xxZ4UW6jRIVAzlVYA62awcopzcYNViDyh6q1yocF3KU=";
    finalImageName = "nix";
    finalImageTag = "2.2.1";
  },
}:
let
  inherit (tools)
    buildImage
    buildLayeredImage
    streamLayeredImage
    streamNixShellImage
    ;

  # One tree of links to the programs of packages: what copyToRoot is meant for.
  programs =
    packages:
    pkgs.buildEnv {
      name = "image-root";
      paths = packages;
      pathsToLink = [ "/bin" ];
    };

  # Account files with root and one more user.
  accounts =
    user: id:
    let
      uid = toString id;
    in
    [
      (pkgs.writeTextDir "etc/passwd" ''
        root:x:0:0::/root:${pkgs.runtimeShell}
        ${user}:x:${uid}:${uid}::/home/${user}:
      '')
      (pkgs.writeTextDir "etc/shadow" ''
        root:!x:::::::
        ${user}:!:::::::
      '')
      (pkgs.writeTextDir "etc/group" ''
        root:x:0:
        ${user}:x:${uid}:
      '')
      (pkgs.writeTextDir "etc/gshadow" ''
        root:x::
        ${user}:x::
      '')
    ];

  # A service as a non-root user.
  nginxImage =
    let
      root = pkgs.writeTextDir "index.html" "<h1>Hello from nginx</h1>\n";
      settings = pkgs.writeText "nginx.conf" ''
        user nginx nginx;
        daemon off;
        error_log /dev/stdout info;
        pid /dev/null;
        events {}
        http {
          access_log /dev/stdout;
          client_body_temp_path /tmp/nginx/body;
          proxy_temp_path /tmp/nginx/proxy;
          fastcgi_temp_path /tmp/nginx/fastcgi;
          uwsgi_temp_path /tmp/nginx/uwsgi;
          scgi_temp_path /tmp/nginx/scgi;
          server {
            listen 80;
            index index.html;
            location / { root ${root}; }
          }
        }
      '';
    in
    {
      name = "nginx-container";
      tag = "latest";
      contents = [ pkgs.nginx ] ++ accounts "nginx" 999;
      extraCommands = ''
        mkdir -p tmp/nginx var/log/nginx
      '';
      config = {
        Cmd = [
          "nginx"
          "-c"
          settings
        ];
        ExposedPorts."80/tcp" = { };
      };
      meta.description = "a web server";
    };

  # What layered images do on top of another one.
  onTop = {
    tag = "latest";
    fromImage = examples.layered-image;
    extraCommands = ''
      mkdir ./example-output
      chmod 777 ./example-output
    '';
    config = {
      Env = [ "PATH=${pkgs.coreutils}/bin/" ];
      WorkingDir = "/example-output";
      Cmd = [
        "${pkgs.bash}/bin/bash"
        "-c"
        "echo hello > foo; cat foo"
      ];
    };
  };

  helloImage = {
    name = "hello";
    tag = "latest";
    contents = [
      (pkgs.buildEnv {
        name = "hello-root";
        paths = [ pkgs.hello ];
      })
    ];
    config.Cmd = [ "hello" ];
  };

  child = {
    name = "child";
    tag = "latest";
    fromImage = examples.environmentVariablesParent;
    config.Env = [
      "FROM_CHILD=true"
      "LAST_LAYER=child"
    ];
  };

  nixContents = [
    pkgs.coreutils
    pkgs.nix
    pkgs.bash
  ];
  # Nix pages with cat, and wants a user.
  nixEnv = [
    "NIX_PAGER=cat"
    "USER=nobody"
  ];

  # Three images on one another, each with a script.
  layerOnTopOf =
    parent: letter:
    buildImage {
      name = "layers-unpack-order-${letter}";
      tag = "latest";
      fromImage = parent;
      copyToRoot = programs [ pkgs.coreutils ];
      runAsRoot = ''
        #!${pkgs.runtimeShell}
        echo -n "${letter}" >> /layer-order
      '';
    };

  shellIsInteractive = ''
    case "$-" in
    *i*) echo This shell is interactive ;;
    *) echo This shell is not interactive ;;
    esac
  '';
  homeIsRight = ''
    if [[ "$HOME" != "$(eval "echo ~$(whoami)")" ]]; then
      echo "HOME is $HOME, and the user's home is $(eval "echo ~$(whoami)")"
      exit 1
    fi
  '';

  shellImage =
    name: drv: options:
    streamNixShellImage (
      {
        inherit name drv;
        tag = "latest";
      }
      // options
    );

  examples = {
    # One program and its shell.
    bash = buildImage {
      name = "bash";
      tag = "latest";
      copyToRoot = programs [ pkgs.bashInteractive ];
      meta.description = "a shell";
    };

    # A service on another image, with a script, a volume and a health check.
    redis = buildImage {
      name = "redis";
      tag = "latest";
      fromImage = examples.bash;
      copyToRoot = programs [ pkgs.redis ];
      runAsRoot = ''
        mkdir -p /data
        cat > /bin/healthcheck <<-'EOF'
        set -x
        [ "$(/bin/redis-cli ping)" = PONG ]
        EOF
        chmod +x /bin/healthcheck
      '';
      config = {
        Cmd = [ "/bin/redis-server" ];
        WorkingDir = "/data";
        Volumes."/data" = { };
        Healthcheck = {
          Test = [
            "CMD-SHELL"
            "/bin/healthcheck"
          ];
          Interval = 30000000000;
          Timeout = 10000000000;
          Retries = 3;
        };
      };
    };

    nginx = buildLayeredImage nginxImage;
    nginxStream = streamLayeredImage nginxImage;

    # An image of a registry, and one on top of it.
    nixFromDockerHub = tools.pullImage pulled;
    onTopOfPulledImage = buildImage {
      name = "onTopOfPulledImage";
      tag = "latest";
      fromImage = examples.nixFromDockerHub;
      copyToRoot = programs [ pkgs.hello ];
    };

    # Several packages in one tree.
    editors = buildImage {
      name = "editors";
      copyToRoot = programs [
        pkgs.coreutils
        pkgs.bash
        pkgs.mg or pkgs.emacs
        pkgs.vim
        pkgs.nano
      ];
    };

    # Nix works inside, with a database of what is there.
    nix = tools.buildImageWithNixDb {
      name = "nix";
      tag = "latest";
      copyToRoot = programs nixContents;
      config.Env = nixEnv;
    };
    nixLayered = tools.buildLayeredImageWithNixDb {
      name = "nix-layered";
      tag = "latest";
      contents = nixContents;
      config.Env = nixEnv;
    };
    nix-layered = streamLayeredImage {
      name = "nix-layered";
      tag = "latest";
      contents = [
        pkgs.nix
        pkgs.bash
      ];
      includeNixDB = true;
      config.Env = [ "NIX_PAGER=cat" ];
    };

    # Texts that would break a shell that they were pasted into.
    runAsRootExtraCommands = buildImage {
      name = "runAsRootExtraCommands";
      tag = "latest";
      copyToRoot = programs [ pkgs.coreutils ];
      runAsRoot = ''echo "(runAsRoot)" > runAsRoot'';
      extraCommands = ''echo "(extraCommand)" > extraCommands'';
    };
    runAsRootParentImage = buildImage {
      name = "runAsRootParentImage";
      tag = "latest";
      fromImage = examples.bash;
      runAsRoot = "touch /example-file";
    };

    # The only images that differ from one build to the next.
    unstableDate = buildImage {
      name = "unstable-date";
      tag = "latest";
      copyToRoot = programs [ pkgs.coreutils ];
      created = "now";
    };
    unstableDateLayered = buildLayeredImage {
      name = "unstable-date-layered";
      tag = "latest";
      contents = [ pkgs.coreutils ];
      created = "now";
    };

    layered-image = buildLayeredImage {
      name = "layered-image";
      tag = "latest";
      contents = [
        pkgs.hello
        pkgs.bash
        pkgs.coreutils
      ];
      extraCommands = ''echo "(extraCommand)" > extraCommands'';
      config.Cmd = [ "${pkgs.hello}/bin/hello" ];
    };
    # Shares store layers with the one before.
    another-layered-image = buildLayeredImage {
      name = "another-layered-image";
      tag = "latest";
      config.Cmd = [ "${pkgs.hello}/bin/hello" ];
    };
    layered-on-top = buildImage (onTop // { name = "layered-on-top"; });
    layered-on-top-layered = buildLayeredImage (onTop // { name = "layered-on-top-layered"; });

    # Upper layers replace the files of lower ones.
    layersOrder =
      let
        layer =
          number: fromImage: files: copyToRoot:
          buildImage {
            name = "l${number}";
            tag = "latest";
            inherit fromImage copyToRoot;
            extraCommands = ''
              mkdir -p tmp
              for file in ${files}; do echo layer${number} > tmp/$file; done
            '';
          };
        l1 = layer "1" null "layer1 layer2 layer3" null;
        l2 = layer "2" l1 "layer2 layer3" null;
      in
      layer "3" l2 "layer3" (programs [ pkgs.coreutils ]);
    layersUnpackOrder = layerOnTopOf (layerOnTopOf (layerOnTopOf null "a") "b") "c";

    # The environment is inherited.
    environmentVariablesParent = buildImage {
      name = "parent";
      tag = "latest";
      config.Env = [
        "FROM_PARENT=true"
        "LAST_LAYER=parent"
      ];
    };
    environmentVariables = buildImage (child // { copyToRoot = programs [ pkgs.coreutils ]; });
    environmentVariablesLayered = buildLayeredImage (child // { contents = [ pkgs.coreutils ]; });

    # Fewer layers than packages.
    two-layered-image = buildLayeredImage {
      name = "two-layered-image";
      tag = "latest";
      contents = [
        pkgs.bash
        pkgs.hello
      ];
      config.Cmd = [ "${pkgs.hello}/bin/hello" ];
      maxLayers = 2;
    };
    bulk-layer = buildLayeredImage {
      name = "bulk-layer";
      tag = "latest";
      contents = [
        pkgs.coreutils
        pkgs.hello
      ];
      maxLayers = 2;
    };
    layered-bulk-layer = buildLayeredImage {
      name = "layered-bulk-layer";
      tag = "latest";
      fromImage = examples.two-layered-image;
      contents = [
        pkgs.coreutils
        pkgs.hello
      ];
      maxLayers = 4;
    };

    # Files of the store are copied, so that no store path is needed; nor are those
    # that a script merely runs.
    no-store-paths = buildLayeredImage {
      name = "no-store-paths";
      tag = "latest";
      extraCommands = ''
        cp -r ${pkgs.pkgsStatic.busybox}/* .
        ${pkgs.hello}/bin/hello
      '';
    };

    # Store paths that are files, and one that is a symlink.
    filesInStore = tools.buildLayeredImageWithNixDb {
      name = "file-in-store";
      tag = "latest";
      contents = [
        pkgs.coreutils
        pkgs.nix
        (pkgs.writeScriptBin "myscript" ''
          #!${pkgs.runtimeShell}
          cat ${pkgs.writeText "somefile" "some data"}
        '')
      ];
      config = {
        Cmd = [ "myscript" ];
        Env = [ "USER=root" ];
      };
    };
    layeredStoreSymlink =
      let
        target = pkgs.writeTextDir "dir/target" "Content doesn't matter.";
        symlink = pkgs.runCommand "symlink" { } "ln -s ${target} $out";
      in
      buildLayeredImage {
        name = "layeredstoresymlink";
        tag = "latest";
        contents = [
          pkgs.bash
          symlink
        ];
        passthru = { inherit symlink; };
      };

    # The tag is the hash of the output's path.
    bashNoTag = buildImage {
      name = "bash-no-tag";
      copyToRoot = pkgs.bashInteractive;
    };
    bashNoTagLayered = buildLayeredImage {
      name = "bash-no-tag-layered";
      contents = pkgs.bashInteractive;
    };
    bashNoTagStreamLayered = streamLayeredImage {
      name = "bash-no-tag-stream-layered";
      contents = pkgs.bashInteractive;
    };

    # Compressors.
    bashUncompressed = buildImage {
      name = "bash-uncompressed";
      tag = "latest";
      compressor = "none";
      copyToRoot = pkgs.bashInteractive;
    };
    bashZstdCompressed = buildImage {
      name = "bash-zstd";
      tag = "latest";
      compressor = "zstd";
      copyToRoot = pkgs.bashInteractive;
    };
    bashLayeredUncompressed = buildLayeredImage {
      name = "bash-layered-uncompressed";
      tag = "latest";
      compressor = "none";
      contents = pkgs.bashInteractive;
    };
    bashLayeredZstdCompressed = buildLayeredImage {
      name = "bash-layered-zstd";
      tag = "latest";
      compressor = "zstd";
      contents = pkgs.bashInteractive;
    };

    # The store can be read by others than root.
    bashLayeredWithUser = buildLayeredImage {
      name = "bash-layered-with-user";
      tag = "latest";
      contents = [
        pkgs.bash
        pkgs.coreutils
      ]
      ++ accounts "somebody" 999;
    };

    # For another machine than the one that builds.
    cross =
      let
        crossPkgs =
          if pkgs.stdenv.hostPlatform.system == "aarch64-linux" then
            pkgs.pkgsCross.gnu64
          else
            pkgs.pkgsCross.aarch64-multiplatform;
      in
      (toolsFor crossPkgs).buildImage {
        name = "hello-cross";
        tag = "latest";
        copyToRoot = programs [ crossPkgs.hello ];
      };
    build-image-with-architecture = buildImage {
      name = "build-image-with-architecture";
      tag = "latest";
      architecture = "arm64";
      copyToRoot = [
        pkgs.bash
        ./dummy
      ];
    };
    layered-image-with-architecture = streamLayeredImage {
      name = "layered-image-with-architecture";
      tag = "latest";
      architecture = "arm64";
      contents = [
        pkgs.bash
        ./dummy
      ];
    };

    # Paths of the source tree.
    build-image-with-path = buildImage {
      name = "build-image-with-path";
      tag = "latest";
      copyToRoot = [
        pkgs.bash
        ./dummy
      ];
    };
    layered-image-with-path = streamLayeredImage {
      name = "layered-image-with-path";
      tag = "latest";
      contents = [
        pkgs.bash
        ./dummy
      ];
    };

    # Names with a registry.
    prefixedImage = buildImage {
      name = "registry-1.docker.io/image";
      tag = "latest";
      config.Cmd = [ "${pkgs.hello}/bin/hello" ];
    };
    prefixedLayeredImage = buildLayeredImage {
      name = "registry-1.docker.io/layered-image";
      tag = "latest";
      config.Cmd = [ "${pkgs.hello}/bin/hello" ];
    };

    # Owners, without root; what the script's output mentions comes along.
    layeredImageWithFakeRootCommands = buildLayeredImage {
      name = "layered-image-with-fake-root-commands";
      tag = "latest";
      contents = [ pkgs.pkgsStatic.busybox ];
      fakeRootCommands = ''
        mkdir -p ./home/alice
        chown 1000 ./home/alice
        ln -s ${
          pkgs.writeScriptBin "layeredImageWithFakeRootCommands-hello" ''
            #!${pkgs.runtimeShell}
            exec ${pkgs.hello}/bin/hello
          ''
        } ./hello
      '';
    };

    # Several images in one archive.
    mergedBashAndRedis = tools.mergeImages [
      examples.bash
      examples.redis
    ];
    mergedBashNoTagAndRedis = tools.mergeImages [
      examples.bashNoTag
      examples.redis
    ];
    mergedBashFakeRoot = tools.mergeImages [
      examples.bash
      examples.layeredImageWithFakeRootCommands
    ];
    mergeVaryingCompressor = tools.mergeImages [
      examples.redis
      examples.bashUncompressed
      examples.bashZstdCompressed
    ];

    # Without the store.
    helloOnRoot = streamLayeredImage helloImage;
    helloOnRootNoStore = streamLayeredImage (helloImage // { includeStorePaths = false; });
    helloOnRootNoStoreFakechroot = streamLayeredImage (
      helloImage
      // {
        includeStorePaths = false;
        enableFakechroot = true;
      }
    );

    # A script that sees the image as /.
    imageViaFakeChroot = streamLayeredImage {
      name = "image-via-fake-chroot";
      tag = "latest";
      enableFakechroot = true;
      fakeRootCommands = ''
        mkdir /bin
        ln -s ${pkgs.hello}/bin/hello /bin/hello
      '';
      config.Cmd = [ "hello" ];
    };
    etc = streamLayeredImage {
      name = "etc";
      tag = "latest";
      enableFakechroot = true;
      fakeRootCommands = ''
        mkdir -p /etc
        printf '127.0.0.1 localhost\n::1 localhost\n' > /etc/some-config-file
      '';
      config.Cmd = [
        (pkgs.writeScript "etc-cmd" ''
          #!${pkgs.busybox}/bin/sh
          ${pkgs.busybox}/bin/cat /etc/some-config-file
        '')
      ];
    };

    # The root file system of an image.
    exportBash = tools.exportImage { fromImage = examples.bash; };

    image-with-certs = buildImage {
      name = "image-with-certs";
      tag = "latest";
      copyToRoot = pkgs.buildEnv {
        name = "image-with-certs-root";
        paths = [
          pkgs.coreutils
          tools.caCertificates
        ];
      };
      config = { };
    };

    # nix-shell as an image.
    nix-shell-basic = shellImage "nix-shell-basic" pkgs.hello { };
    nix-shell-hook = shellImage "nix-shell-hook" (pkgs.mkShell {
      shellHook = ''
        echo "This is the shell hook!"
        exit
      '';
    }) { };
    nix-shell-inputs =
      shellImage "nix-shell-inputs" (pkgs.mkShell { nativeBuildInputs = [ pkgs.hello ]; })
        { command = "hello"; };
    nix-shell-pass-as-file =
      shellImage "nix-shell-pass-as-file"
        (pkgs.mkShell {
          str = "this is a string";
          passAsFile = [ "str" ];
        })
        { command = ''cat "$strPath"''; };
    nix-shell-run = shellImage "nix-shell-run" (pkgs.mkShell { }) { run = shellIsInteractive; };
    nix-shell-command = shellImage "nix-shell-command" (pkgs.mkShell { }) {
      command = shellIsInteractive;
    };
    nix-shell-writable-home = shellImage "nix-shell-writable-home" (pkgs.mkShell { }) {
      run = ''
        ${homeIsRight}
        touch $HOME/test-file || exit 1
        echo "home directory is writable"
      '';
    };
    nix-shell-nonexistent-home = shellImage "nix-shell-nonexistent-home" (pkgs.mkShell { }) {
      homeDirectory = "/homeless-shelter";
      run = ''
        ${homeIsRight}
        [ ! -e $HOME ] || exit 1
        echo "home directory doesn't exist"
      '';
    };
    nix-shell-build-derivation = shellImage "nix-shell-build-derivation" pkgs.hello {
      run = ''
        buildDerivation
        $out/bin/hello
      '';
    };
  };
in
examples
