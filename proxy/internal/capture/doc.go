// Package capture redirects a program's traffic to its sidecar: rules in the kernel's packet filter, programmed by netlink in the
// network namespace of the thread that calls, and what the sidecar needs to find out where a connection or a datagram was
// meant to go.
//
// TCP that the program sends is redirected to the outbound listener and keeps its original destination in the connection
// tracker; UDP is handed over unchanged (TPROXY). What reaches the program from outside goes to the plaintext listener.
// Never captured: the sidecar's own sockets, which carry a mark or the sidecar's user, what stays inside the namespace, and
// DNS (port 53). Of everything else that is not captured only ICMP leaves. Without a sidecar that listens captured traffic
// is refused, not let through: capture fails closed.
package capture
