#!/bin/sh
# Runs every fuzz target of the module, one after the other, each for FUZZTIME.
# What fails is kept in testdata/fuzz, beside the inputs that "make test" runs.
# To make an archive smaller would take all of the time: it is tried once.
set -eu
: "${FUZZTIME:=30s}"

for package in $(go list ./...); do
	for target in $(go test -run '^$' -list '^Fuzz' "$package" | grep '^Fuzz' || true); do
		echo "== $package $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$FUZZTIME" -fuzzminimizetime 1x "$package"
	done
done
