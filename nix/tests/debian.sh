#!/bin/sh
# Prints, as JSON, the files of this Debian machine that pkgs.nix makes packages
# of: for each package its programs, and the libraries that they need, by the
# names that they are to have. A package whose programs are not all installed is
# left out, and named on standard error.
set -eu

json() { # NAME PATH
	printf '%s"%s":"%s"' "$sep" "$1" "$(realpath "$2")"
	sep=,
}

libraries() { # PROGRAM...
	{ ldd "$@" 2>/dev/null || true; } | sed -n 's/^.*=> \(\/[^ ]*\) .*/\1/p' | sort -u
}

isGlibc() {
	case ${1##*/} in
	libc.so.* | libm.so.* | libresolv.so.* | libdl.so.* | libpthread.so.* | librt.so.*) true ;;
	*) false ;;
	esac
}

package() { # NAME PROGRAM...
	name=$1 missing=
	shift
	for program; do [ -e "$program" ] || missing="$missing $program"; done
	if [ -n "$missing" ]; then
		echo "package $name is left out: there is no$missing" >&2
		return
	fi
	printf ',\n"%s":{"bin":{' "$name"
	sep=
	for program; do json "${program##*/}" "$program"; done
	printf '},"lib":{'
	sep=
	for library in $(libraries "$@"); do
		isGlibc "$library" || json "${library##*/}" "$library"
	done
	printf '}}'
}

all() { # PROGRAM... in /usr/bin
	for program; do printf '/usr/bin/%s ' "$program"; done
}

libc=$(dirname "$(ldd /usr/bin/env | sed -n 's/^.*libc.so.6 => \(\/[^ ]*\) .*/\1/p')")
interpreter=$(ldd /usr/bin/env | sed -n 's/^[[:space:]]*\(\/[^ ]*\) .*/\1/p')
printf '{"glibc":{"interpreter":"%s","lib":{' "${interpreter##*/}"
sep=
json "${interpreter##*/}" "$interpreter"
for name in libc.so.6 libm.so.6 libresolv.so.2 libdl.so.2 libpthread.so.0 librt.so.1 libnss_files.so.2 libnss_dns.so.2; do
	json "$name" "$libc/$name"
done
printf '}}'
package bash /usr/bin/bash
package busybox /usr/bin/busybox
# shellcheck disable=SC2046 # words
package coreutils $(all basename cat chgrp chmod chown cp cut date dirname echo env false head id install ln \
	ls mkdir mktemp mv printenv printf pwd readlink realpath rm rmdir sha256sum sleep sort stat tail tee test \
	touch tr true uname wc whoami)
package findutils /usr/bin/find /usr/bin/xargs
package gnugrep /usr/bin/grep
package gnused /usr/bin/sed
package hello /usr/bin/hello
package mg /usr/bin/mg
package nano /usr/bin/nano
package nginx /usr/sbin/nginx
package nix /usr/bin/nix
package patchelf /usr/bin/patchelf
package redis /usr/bin/redis-server /usr/bin/redis-cli
package shadow /usr/sbin/groupadd /usr/sbin/useradd /usr/sbin/usermod
package vim /usr/bin/vim.tiny
printf ',\n"certificates":"%s"}\n' "$(realpath /etc/ssl/certs/ca-certificates.crt)"
