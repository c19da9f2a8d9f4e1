#!/bin/sh
# Runs every fuzz target of the workspace for the time given.
set -eu
time=${1:-30s}
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Go's coordinator sometimes takes the end of its own time for a failure (golang/go#75804): then it says so, and writes no input.
fuzz() {
	{ go test "./$1" -run '^$' -fuzz "^$2\$" -fuzztime "$time" -fuzzminimizetime 5s 2>&1 || echo "exit status of go test: $?"; } | tee "$log"
	grep -q '^exit status of go test' "$log" || return 0
	if grep -q '^ *context deadline exceeded$' "$log" && ! grep -q -e 'Failing input written' -e '^ *panic' "$log"; then
		echo "$1 $2: its time was over, and nothing was found"
		return 0
	fi
	return 1
}

for dir in $(grep -rl --include='*_test.go' '^func Fuzz' internal proxy services integration | xargs -n1 dirname | sort -u); do
	for target in $(grep -h -o '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go | cut -d' ' -f2); do
		echo "$dir $target"
		fuzz "$dir" "$target"
	done
done
