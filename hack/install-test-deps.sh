#!/bin/sh
# Installs what the tests compare with and run images in, as Debian packages.
# Root on Debian is needed for that; elsewhere it says what would be useful and
# goes on, and the tests that miss something are skipped by name. With
# everything there it takes a fraction of a second.
set -eu

packages="
	attr bash-static busybox-static bzip2 ca-certificates containerd crun docker-registry docker.io e2fsprogs erofs-utils
	fuse-overlayfs gcc golang-github-containers-common hello iproute2 iptables jq libc6-dev
	libarchive-tools libcap2-bin libseccomp-dev linux-image-cloud-amd64 mg mmdebstrap nano nginx nix-bin openssh-client openssl patchelf pigz pkg-config podman python3 qemu-system-x86
	redis-server rsync runc skopeo squashfs-tools strace tar
	umoci util-linux vim-tiny xz-utils zstd
"

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
	echo "not Debian: nothing is installed. Tests use, where they are found:" $packages
	exit 0
fi

missing=
for package in $packages; do
	status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
	[ "$status" = installed ] || missing="$missing $package"
done
if [ -z "$missing" ]; then
	exit 0
fi
if [ "$(id -u)" != 0 ]; then
	echo "not root: nothing is installed. These packages would serve the tests:$missing"
	exit 0
fi

# No service may start: the tests start their own daemons.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	trap 'rm -f "$policy"' EXIT
	trap 'exit 130' INT TERM
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
fi

export DEBIAN_FRONTEND=noninteractive
apt="apt-get -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0"
$apt update
known=
for package in $missing; do
	if apt-cache show "$package" >/dev/null 2>&1; then
		known="$known $package"
	else
		echo "this Debian has no package $package: tests that need it will say so"
	fi
done
echo "installing:$known"
# shellcheck disable=SC2086 # a list of words
$apt install --yes --no-install-recommends $known >/dev/null
