#!/bin/sh
# Compiles the program that the image runs: the one of 04-owners-and-modes.
set -eu
cd "$(dirname "$0")"
CGO_ENABLED=0 GOOS=linux go build -trimpath -buildvcs=false -o out/rights ../04-owners-and-modes/rights
