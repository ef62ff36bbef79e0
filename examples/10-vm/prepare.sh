#!/bin/sh
# A small system: the machine's static busybox (Debian's busybox-static).
set -eu
cd "$(dirname "$0")"
mkdir -p out/bin
cp "$(command -v busybox)" out/bin/busybox
for name in sh id mkdir chown chmod stat; do
	ln -sf busybox "out/bin/$name"
done
