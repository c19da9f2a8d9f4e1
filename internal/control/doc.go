// Package control is how the processes of one sidecar talk on their machine: `weft sidecar upgrade` with a sidecar, a sidecar with
// its supervisor, and the process that leaves with the one that takes its place. Messages are packets on a Unix socket in the
// sidecar's state directory, which only its user can open, or on a pair of sockets between parent and child. A packet may carry
// a file descriptor.
//
// It must never be reachable over a network, and decides nothing: whoever may open the socket may do what it offers.
package control
