// Package hosts tests a mesh on several machines: namespaced hosts of package lab, the real binaries, and what goes over the
// wire between them. It needs root; `make e2e` runs it. The flag -capture=explicit|transparent says how programs reach their
// upstreams.
package hosts
