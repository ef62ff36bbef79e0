#!/bin/sh
# What importers of the public packages may no longer compile with since the last
# tag. From v1 on that is an error.
set -eu

apidiff=golang.org/x/exp/cmd/apidiff@v0.0.0-20261113113407-e3970619a1a4

tag=$(git describe --tags --abbrev=0 2>/dev/null) || {
	echo "API: there is no tag to compare with"
	exit 0
}
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
mkdir "$temp/src"
git archive "$tag" | tar -x -C "$temp/src"

# It names every package that it leaves out, each time.
compare() {
	go run "$apidiff" -m "$@" 2>"$temp/stderr" || {
		grep -v '^Ignoring internal package' "$temp/stderr" >&2
		return 1
	}
}
module=$(go list -m)
(cd "$temp/src" && compare -w "$temp/old" "$module")
compare -w "$temp/new" "$module"
compare -incompatible "$temp/old" "$temp/new" >"$temp/all"
grep -vE '^- (\./|package [^ ]*/)(cmd|examples|hack|nix)[/.:]' "$temp/all" >"$temp/changes" || {
	echo "API: what compiles with $tag compiles with this"
	exit 0
}
echo "API: since $tag:"
cat "$temp/changes"
case $tag in
v0.*) ;;
*) exit 1 ;;
esac
