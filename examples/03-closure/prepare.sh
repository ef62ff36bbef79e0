#!/bin/sh
# Makes a small store below out/root, as Nix would: every path is named by a
# hash, and paths refer to one another by their full names.
#
#   greet ----> words ----> banner
#   farewell -> words
set -eu
cd "$(dirname "$0")"
store=/nix/store
banner=$store/5kr1vl0fqx0dqxm0k4hqpb2fv2sv5lc7-banner-2.0
words=$store/9ryzf8sva1mm9cn1bzp1d1xl8x4vcxid-words-2.1
greet=$store/1q5ai0nsfw41z4gp9wh97dqpbalm2l68-greet-1.0
farewell=$store/3cz1dwkdsl1l8k6fvyyxc3k9ll6vpf9x-farewell-1.0

root=out/root
rm -rf "$root"
mkdir -p "$root$banner/share" "$root$words/share"
echo '~~~ varve ~~~' >"$root$banner/share/banner"
ln -s "$banner/share/banner" "$root$words/share/banner"
echo 'Good morning.' >"$root$words/share/greeting"
echo 'Good night.' >"$root$words/share/farewell"

# The linker writes the path of the words into each program.
say() {
	CGO_ENABLED=0 GOOS=linux go build -trimpath -buildvcs=false \
		-ldflags "-X main.banner=$words/share/banner -X main.text=$words/share/$2" \
		-o "$root$1/bin/$3" ./say
}
say "$greet" greeting greet
say "$farewell" farewell farewell

# Nix sets modes when it registers a path; here they must not be the umask's.
chmod -R u=rwX,go=rX "$root"
