#!/bin/sh
# Prints folders to put in front of PATH: buf and the plugins of protoc for Go, TypeScript and Python, with pinned versions.
set -eu
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/languages.sh"

buf_version=1.75.0
plugins=$(sha256sum "$root/integration/tools/proto/go.sum" | cut -c1-12)

fetch_buf() {
	echo '{"name": "tools", "private": true}' >"$1/package.json" &&
		npm install --prefix "$1" --no-audit --no-fund --loglevel=error "@bufbuild/buf@$buf_version" >&2 &&
		mkdir -p "$1/bin" &&
		ln -s ../node_modules/@bufbuild/buf-linux-x64/bin/buf "$1/bin/buf" &&
		"$1/bin/buf" --version >/dev/null
}

build_plugins() {
	mkdir -p "$1/bin" &&
		GOWORK=off go build -C "$root/integration/tools/proto" -o "$1/bin/" tool
}

install_once "buf-$buf_version" fetch_buf
install_once "protoc-plugins-$plugins" build_plugins
need_node
need_python
echo "$tools/buf-$buf_version/bin:$tools/protoc-plugins-$plugins/bin:$node_tools/node_modules/.bin:$python_tools/bin"
