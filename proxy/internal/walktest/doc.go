// Package walktest lets tests run both assemblies, inbound and outbound, against each other in one process: a small mesh of
// workloads with real sockets, real certificates and hand-made tables. Only tests import it.
package walktest
