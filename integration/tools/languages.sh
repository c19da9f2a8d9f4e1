# What Node.js and Python need, from their registries, with pinned versions; sourced after lib.sh by proto.sh, which generates
# clients, and by clients.sh, which runs them. need_node and need_python set node_tools and python_tools to folders.

need_node() {
	command -v npm >/dev/null || { say "npm is missing"; return 1; }
	node_tools=node-$(sha256sum "$root/integration/tools/node/package-lock.json" | cut -c1-12)
	install_once "$node_tools" install_node || return 1
	node_tools=$tools/$node_tools
}

install_node() {
	cp "$root/integration/tools/node/package.json" "$root/integration/tools/node/package-lock.json" "$1" &&
		npm ci --prefix "$1" --no-audit --no-fund --loglevel=error >&2
}

# Wheels belong to one version of Python on one kind of machine, so the name holds both.
need_python() {
	python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || { say "Python 3.10 or newer is missing"; return 1; }
	python_tools=python-$({
		cat "$root/integration/tools/python/requirements.txt" "$root/integration/tools/python/protoc_gen_py.py" "$root/integration/tools/languages.sh"
		python3 -c 'import platform, sys; print(sys.implementation.cache_tag, platform.machine())'
	} | sha256sum | cut -c1-12)
	install_once "$python_tools" install_python || return 1
	python_tools=$tools/$python_tools
}

# The libraries in lib/, and in bin/ the plugins of protoc that they hold, which find them wherever the folder is.
install_python() {
	pip "$1" install --target "$1/lib" --no-deps --only-binary :all: --requirement "$root/integration/tools/python/requirements.txt" >&2 &&
		cp "$root/integration/tools/python/protoc_gen_py.py" "$1/lib/" &&
		mkdir "$1/bin" &&
		launcher "$1/bin/protoc-gen-py" 'import protoc_gen_py' &&
		launcher "$1/bin/protoc-gen-mypy" 'from mypy_protobuf.main import main; main()' &&
		launcher "$1/bin/protoc-gen-mypy_grpc" 'from mypy_protobuf.main import grpc; grpc()'
}

launcher() {
	printf '%s\n' '#!/bin/sh' 'lib=$(cd "$(dirname "$0")/../lib" && pwd)' "PYTHONPATH=\$lib exec python3 -c '$2'" >"$1" && chmod +x "$1"
}

# pip FOLDER ARGUMENTS: Python's own pip. Where there is none, the wheel of it that Debian packages, unpacked to FOLDER.
pip() {
	scratch=$1
	shift
	wheel=
	if ! python3 -m pip --version >/dev/null 2>&1; then
		command -v apt-get >/dev/null || { say "pip is missing"; return 1; }
		mkdir -p "$scratch/.pip" && (cd "$scratch/.pip" && download_pip && dpkg -x python3-pip-whl_*.deb .) || return 1
		wheel=$(echo "$scratch"/.pip/usr/share/python-wheels/pip-*.whl)
	fi
	PYTHONPATH=$wheel${wheel:+:}${PYTHONPATH:-} PIP_ROOT_USER_ACTION=ignore python3 -m pip --disable-pip-version-check --quiet "$@" &&
		rm -rf "$scratch/.pip"
}

# Only root may renew the lists of packages that a download needs.
download_pip() {
	apt-get download python3-pip-whl >/dev/null 2>&1 && return
	[ "$(id -u)" = 0 ] && apt-get update >/dev/null
	apt-get download python3-pip-whl >/dev/null
}
