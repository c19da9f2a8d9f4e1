#!/bin/sh
# Runs every fuzz target of the workspace for the time given.
set -eu
time=${1:-30s}
for dir in $(grep -rl --include='*_test.go' '^func Fuzz' internal proxy services integration | xargs -n1 dirname | sort -u); do
	for target in $(grep -h -o '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go | cut -d' ' -f2); do
		echo "$dir $target"
		go test "./$dir" -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 5s
	done
done
