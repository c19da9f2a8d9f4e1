#!/bin/sh
# Prints the path of golangci-lint, built from its own module.
set -eu
. "$(dirname "$0")/lib.sh"

version=$(sha256sum "$root/integration/tools/lint/go.sum" | cut -c1-12)

build_lint() {
	GOWORK=off go build -C "$root/integration/tools/lint" -o "$1/" tool
}

install_once "golangci-lint-$version" build_lint
echo "$tools/golangci-lint-$version/golangci-lint"
