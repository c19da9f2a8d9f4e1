//go:build race

package walktest

// raced: the race detector is on, which makes everything ten times slower.
const raced = true
