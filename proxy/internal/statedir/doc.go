// Package statedir is the directory in which a sidecar keeps what it needs to start again without a control plane. It owns the
// directory's mode (0700), the modes of its files (0600), their atomic replacement and the lock that keeps two sidecars apart.
// It must never interpret what the files say: their owners do, and check it.
package statedir
