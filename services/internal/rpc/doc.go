// Package rpc is how the control plane's services meet: gRPC servers and clients on SPIFFE mTLS, one table that says who may
// call each method, and the one place where faults become gRPC statuses.
//
// A request passes one chain: counters, fault to status, panic to fault, verified caller, rule, handler. Connections in memory
// pass the same handshake and the same chain. The package never takes a caller's word for who it is; only the gateway's word
// about the person that it calls for.
package rpc
