// Package chaos kills, pauses and cuts the real binaries of a mesh, and its etcd cluster of three, while programs talk to each
// other and people change things. Its tests hold what a mesh promises whatever happens to it: a sidecar never has half a table
// and never goes back to an older one, who is denied is never allowed by accident, nothing that was acknowledged is lost, and
// everything converges once the fault is over. They need WEFT_BIN, the folder of the built binaries; `make e2e` sets it.
//
// What random faults do is drawn from a seed, which is printed: WEFT_CHAOS_SEED repeats it, WEFT_CHAOS_FOR makes it longer. The
// README lists the bugs that were found so, with the command that replays each.
package chaos
