#!/bin/sh
# Runs every fuzz target of the module, one after the other, each for FUZZTIME.
set -eu
: "${FUZZTIME:=30s}"

for package in $(go list ./...); do
	for target in $(go test -run '^$' -list '^Fuzz' "$package" | grep '^Fuzz' || true); do
		echo "== $package $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$FUZZTIME" "$package"
	done
done
