// Package lab makes hosts for tests: network namespaces with addresses of their own, IPv4 and IPv6, on a bridge that lives in
// a namespace too, so that nothing of the machine's own network is touched. The real binaries are started inside; hosts are
// cut off, healed and rebooted, and tcpdump sees all that passes between them. It needs root, ip(8) and nsenter(1).
//
// Names of namespaces begin with "wh" and the test's process id, so that what a killed test leaves is found and removed by
// the next one. A link that is cut keeps its carrier: packets vanish, as they do behind a broken switch, and nobody is told.
package lab
