#!/bin/sh
# Compiles the program of both images, to the same bytes wherever this checkout
# lies.
set -eu
cd "$(dirname "$0")"
CGO_ENABLED=0 GOOS=linux go build -trimpath -buildvcs=false -o out/show ./show
