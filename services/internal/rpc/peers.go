package rpc

import "google.golang.org/grpc"

// Peers finds the other replicas of the same service.
type Peers interface {
	// List returns the live replicas other than this one.
	List() []Peer
	// Dial connects to one of them with mTLS, expecting the service's own SPIFFE ID. Connections are kept and shared.
	Dial(p Peer) (grpc.ClientConnInterface, error)
}

// Peer is one other replica.
type Peer struct {
	// Replica is its unique name.
	Replica string
	// Address of its gRPC port.
	Address string
}
