// Package sandbox gives a program a network namespace and a mount namespace of its own, so that its traffic can be captured and the
// services of the mesh have names in its /etc/hosts.
//
// The network namespace hangs on a bridge of the host by a veth pair: that is the way of what is not captured (DNS, ICMP) and of
// plaintext callers on the host. Nothing mounts or names the namespace, so the kernel takes it away, veth and all, when its last
// process ends, however that comes. What stays then (the bridge, the host's translation rule, a note in the run directory) is
// removed with the last sandbox, or by Clean after a crash.
package sandbox
