#!/bin/sh
# Makes the least of a Debian that has a shell and can install packages, with
# mmdebstrap: as an ordinary user, and the same bytes each time.
set -eu
umask 022
cd "$(dirname "$0")"
mkdir -p out
SOURCE_DATE_EPOCH=1 mmdebstrap --quiet --variant=custom --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
	--include=base-files,base-passwd,coreutils,dash,debianutils,diffutils,dpkg,grep,libc-bin,mawk,sed,tar \
	'--dpkgopt=path-exclude=/usr/share/doc/*' '--dpkgopt=path-exclude=/usr/share/man/*' bookworm - >out/debian.tar
