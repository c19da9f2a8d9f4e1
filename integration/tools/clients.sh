#!/bin/sh
# Builds the programs of integration/clients, and the examples of the READMEs of the packages in gen/, as their authors would:
# against these packages, installed into a folder of the cache, with types checked. Prints the folder; what runs is in its bin/:
# canary-python, readme-python, canary-typescript, readme-typescript. Where there is no Node.js or Python, or their registries
# cannot be reached, it says so and ends with code 3.
set -eu
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/languages.sh"

build() {
	build_typescript "$1/typescript" && build_python "$1/python" && mkdir "$1/bin" || return 1
	for program in canary readme; do
		launcher_of "$1/bin/$program-typescript" "exec node \"\$here/typescript/dist/$program.js\" \"\$@\"" &&
			launcher_of "$1/bin/$program-python" \
				"PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=\$here/python/lib:$python_tools/lib exec python3 \"\$here/python/$program.py\" \"\$@\"" || return 1
	done
}

# example LANGUAGE README: the blocks of that language.
example() {
	awk -v fence="\`\`\`$1" '$0 == fence { on = 1; next } /^```/ { on = 0 } on' "$2"
}

# The package as npm would publish it, beside the libraries that are installed already.
build_typescript() {
	modules=$1/node_modules
	mkdir -p "$modules/@weft-mesh/client" &&
		cp "$root/integration/clients/typescript/canary.ts" "$root"/integration/clients/typescript/*.json "$1/" &&
		example typescript "$root/gen/typescript/README.md" >"$1/readme.ts" &&
		(cd "$1" && npm pack --loglevel=error "$root/gen/typescript" >&2) &&
		tar -xzf "$1"/weft-mesh-client-*.tgz -C "$modules/@weft-mesh/client" --strip-components=1 &&
		for scope in @bufbuild @connectrpc @types; do ln -s "$node_tools/node_modules/$scope" "$modules/$scope" || return 1; done &&
		node "$node_tools/node_modules/typescript/bin/tsc" -p "$1" >&2 &&
		[ -s "$1/dist/readme.js" ]
}

# The package as pip builds it, in a copy: nothing may be left behind in gen/.
build_python() {
	mkdir -p "$1/source" &&
		cp -r "$root/gen/python/." "$1/source" &&
		cp "$root/integration/clients/python/canary.py" "$1/" &&
		example python "$root/gen/python/README.md" >"$1/readme.py" && [ -s "$1/readme.py" ] &&
		PYTHONPATH=$python_tools/lib pip "$1" install --target "$1/lib" --no-deps --no-build-isolation "$1/source" >&2 &&
		PYTHONPATH=$1/lib:$python_tools/lib python3 -m mypy --strict --cache-dir "$1/mypy" "$1/canary.py" "$1/readme.py" >&2 &&
		rm -r "$1/mypy" "$1/source"
}

launcher_of() {
	printf '%s\n' '#!/bin/sh' 'here=$(cd "$(dirname "$0")/.." && pwd)' "$2" >"$1" && chmod +x "$1"
}

unavailable() {
	say "NOT INSTALLED: clients in TypeScript and Python: $1"
	exit 3
}

need_node || unavailable "npm and its registry are needed"
need_python || unavailable "Python 3.10, pip and its registry are needed"
name=clients-$(cd "$root" && {
	echo "$node_tools $python_tools"
	find gen/typescript gen/python integration/clients integration/tools/clients.sh \
		\( -name node_modules -o -name __pycache__ \) -prune -o -type f -exec sha256sum {} + | sort -k2
} | sha256sum | cut -c1-12)
install_once "$name" build
echo "$tools/$name"
