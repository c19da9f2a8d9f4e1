# Shared by the tool scripts: where built tools are kept, and one installation at a time.
# Sourced, never run. Every tool goes to $tools/<name>-<version>/ and is built there once.

root=$(cd "$(dirname "$0")/../.." && pwd)
tools=${WEFT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/weft}/tools
mkdir -p "$tools"

say() { echo "$*" >&2; }

# install_once NAME COMMAND...: runs COMMAND with a fresh folder as its last argument unless $tools/NAME is there already.
# The folder takes its name only when the command has succeeded, so that a broken installation is never used.
install_once() {
	name=$1
	shift
	if [ -d "$tools/$name" ]; then
		return 0
	fi
	(
		flock 9
		if [ ! -d "$tools/$name" ]; then
			say "installing $name (once)"
			rm -rf "$tools/.$name"
			mkdir -p "$tools/.$name"
			"$@" "$tools/.$name" && mv "$tools/.$name" "$tools/$name"
		fi
	) 9>"$tools/.lock"
}
