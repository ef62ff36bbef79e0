# Files that many images need, and what scripts need.
{
  lib,
  run,
  writeText,
  writeFiles,
  writeProgram,
  bashInteractive,
  coreutils,
  shadow,
  cacert,
  runtimeShell,
  ...
}:
let
  lines = list: builtins.concatStringsSep "" (map (line: line + "\n") list);
  bundle = "${cacert}/etc/ssl/certs/ca-bundle.crt";
in
{
  # /etc/passwd and /etc/group with root and nobody, for programs that look them
  # up. fakeNss.override adds lines.
  fakeNss =
    lib.overridable
      (
        {
          extraPasswdLines ? [ ],
          extraGroupLines ? [ ],
        }:
        writeFiles "fake-nss" {
          "etc/passwd".text = lines (
            [ "root:x:0:0:root user:/var/empty:/bin/sh" ]
            ++ extraPasswdLines
            ++ [ "nobody:x:65534:65534:nobody:/var/empty:/bin/sh" ]
          );
          "etc/group".text = lines ([ "root:x:0:" ] ++ extraGroupLines ++ [ "nobody:x:65534:" ]);
          "etc/nsswitch.conf".text = "hosts: files dns\n";
          "var/empty".directory = true;
        }
      )
      { };

  usrBinEnv = writeFiles "usr-bin-env" { "usr/bin/env".link = "${coreutils}/bin/env"; };

  binSh = writeFiles "bin-sh" { "bin/sh".link = "${bashInteractive}/bin/bash"; };

  caCertificates = writeFiles "ca-certificates" {
    "etc/ssl/certs/ca-bundle.crt".link = bundle;
    "etc/ssl/certs/ca-certificates.crt".link = bundle;
    "etc/pki/tls/certs/ca-bundle.crt".link = bundle;
  };

  # For runAsRoot: files that shadow's programs want, where they are missing.
  shadowSetup = ''
    export PATH=${shadow}/bin:$PATH
    mkdir -p /etc/pam.d
    [[ -f /etc/passwd ]] || {
      echo 'root:x:0:0::/root:${runtimeShell}' > /etc/passwd
      echo 'root:!x:::::::' > /etc/shadow
    }
    [[ -f /etc/group ]] || {
      echo 'root:x:0:' > /etc/group
      echo 'root:x::' > /etc/gshadow
    }
    [[ -f /etc/pam.d/other ]] || cat > /etc/pam.d/other <<'EOF'
    account sufficient pam_unix.so
    auth sufficient pam_rootok.so
    password requisite pam_unix.so nullok yescrypt
    session required pam_unix.so
    EOF
    [[ -f /etc/login.defs ]] || touch /etc/login.defs
  '';

  # A script that finds coreutils and the image's /bin.
  shellScript =
    name: text:
    writeFiles name {
      "" = {
        text = "${lib.firstLine runtimeShell ""}\nset -e\nexport PATH=${coreutils}/bin:/bin\n${text}\n";
        executable = true;
      };
    };

  # One tree of directories and tarballs, later ones over earlier.
  mergeDrvs =
    {
      derivations,
      onlyDeps ? false,
    }:
    if onlyDeps then
      writeText "merge-drvs" "${toString (lib.toList derivations)}\n"
    else
      run "merge-drvs" {
        action = "tree";
        sources = lib.toList derivations;
      };

  # bin/tarsum: Docker's TarSum of standard input.
  tarsum = writeProgram "tarsum" "bin/tarsum" [ "tarsum" ];
}
