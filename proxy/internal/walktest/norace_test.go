//go:build !race

package walktest

const raced = false
