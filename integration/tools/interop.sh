#!/bin/sh
# Builds the programs by which gRPC's implementations are tested against each other, from their own module, and prints the folder
# that they are in: interop-client, interop-server and interop-stress.
set -eu
. "$(dirname "$0")/lib.sh"

version=$(sha256sum "$root/integration/tools/interop/go.sum" | cut -c1-12)

build_interop() {
	cd "$root/integration/tools/interop" && export GOWORK=off &&
		go build -o "$1/interop-client" google.golang.org/grpc/interop/client &&
		go build -o "$1/interop-server" google.golang.org/grpc/interop/server &&
		go build -o "$1/interop-stress" google.golang.org/grpc/interop/stress/client
}

install_once "interop-$version" build_interop
echo "$tools/interop-$version"
