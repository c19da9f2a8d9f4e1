//go:build !linux || race || plainio

package wire

const lean = false
