//go:build linux && !race && !plainio

package wire

// lean: no turn allocates.
const lean = true
