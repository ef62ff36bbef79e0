# Archives: from registries, of several images, and what is in them.
{
  lib,
  run,
  architecture,
  shell,
  path,
  cacert,
  hasCacert,
  epoch,
  strict,
  runner,
  ...
}:
let
  defaultArchitecture = architecture;

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
in
{
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
    run name (
      {
        action = "export";
        image = fromImage;
        mtime = epoch;
      }
      // lib.choice "exportImage ${name}" fromImageName fromImageTag
    );

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
        image = fromImage;
        mtime = epoch;
        preMount = strict preMount;
        postMount = strict postMount;
        postUmount = strict postUmount;
      }
      // lib.choice "runWithOverlay ${name}" fromImageName fromImageTag
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
      variant ? null,
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
        platform = "${os}/${arch}${if variant == null then "" else "/${variant}"}";
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
