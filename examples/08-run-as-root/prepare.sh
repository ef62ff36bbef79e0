#!/bin/sh
# Makes a Debian with shadow's tools and apt, with mmdebstrap: as an ordinary
# user, and the same bytes each time.
set -eu
umask 022
cd "$(dirname "$0")"
mkdir -p out
SOURCE_DATE_EPOCH=1 mmdebstrap --quiet --variant=apt --dpkgopt=force-unsafe-io bookworm - >out/debian.tar
