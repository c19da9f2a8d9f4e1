package table

import "net/netip"

// Egress says what may be called outside of the mesh.
type Egress struct {
	// Strict: only what an external service names; else everything.
	Strict bool
	// Services in order of name.
	Services []ExternalService
}

// ExternalService is a destination outside of the mesh.
type ExternalService struct {
	// Name is "namespace/name".
	Name string
	// Hosts in lower case. A leading "*." stands for one label or more.
	Hosts []string
	// Addresses of it, whatever name they were called by.
	Addresses []netip.Prefix
	// Ports; none: every port.
	Ports []uint16
}
