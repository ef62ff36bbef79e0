#!/bin/sh
# Builds current container engines of their released modules, for the tests: sh build.sh [DIR], where
# DIR is a cache outside of the checkout. The last line is the directory with the programs. Each
# module has a directory in the cache that is named by what it is made of, so that it is built
# once: the first time takes some twelve minutes of two processors, and 1 GB in the cache of modules.
set -eu
here=$(CDPATH= cd "$(dirname "$0")" && pwd)
cache=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/varve-engines}
mkdir -p "$cache"
export GOFLAGS=-mod=readonly GOWORK=off

# One at a time: a second run finds what the first has built.
if [ "${VARVE_ENGINES_LOCKED:-}" != "$cache" ] && command -v flock >/dev/null; then
	VARVE_ENGINES_LOCKED=$cache exec flock "$cache/lock" sh "$0" "$cache"
fi

# name WORD... names a build by the Go that makes it and by the text on standard input.
name() {
	{ go env GOVERSION GOARCH; echo "$@"; cat; } | sha256sum | cut -c1-16
}

# module NAME CGO TAGS PACKAGE... builds the programs of a module, unless they are there.
made=
module() {
	name=$1 cgo=$2 tags=$3
	shift 3
	dir=$cache/$name-$(cat "$here/$name"/* | name "$cgo" "$tags" "$@")
	made="$made $dir"
	[ ! -d "$dir" ] || return 0
	echo "building $name" >&2
	rm -rf "$dir.new"
	mkdir "$dir.new"
	(cd "$here/$name" && CGO_ENABLED=$cgo go build -trimpath -buildvcs=false -ldflags '-s -w' -tags "$tags" -o "$dir.new/" "$@")
	mv "$dir.new" "$dir"
}

module registry 0 '' github.com/distribution/distribution/v3/cmd/registry
module crane 0 '' github.com/google/go-containerregistry/cmd/crane
module oras 0 '' oras.land/oras/cmd/oras
module umoci 0 '' github.com/opencontainers/umoci/cmd/umoci
# Without seccomp it fails under the engines' default profiles.
module runc 1 seccomp github.com/opencontainers/runc
module containerd 0 '' github.com/containerd/containerd/v2/cmd/containerd github.com/containerd/containerd/v2/cmd/ctr \
	github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2
module storage 0 'containers_image_openpgp exclude_graphdriver_btrfs' .
module docker 0 '' github.com/moby/moby/v2/cmd/dockerd

bin=$cache/bin-$(echo "$made" | name)
if [ ! -d "$bin" ]; then
	rm -rf "$bin.new"
	mkdir "$bin.new"
	for dir in $made; do
		ln -s "$dir"/* "$bin.new/"
	done
	ln -s registry "$bin.new/docker-registry" # as Debian calls it
	mv "$bin.new" "$bin"
fi
echo "$bin"
