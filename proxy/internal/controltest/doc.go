// Package controltest is a control plane for tests of the sidecar: the four services that a sidecar talks to, as real gRPC
// servers with real mTLS on loopback ports. They behave: a token works once, a workload's streams are checked against its
// identity, configuration is what the test sets. They can be stopped and started again on the same ports.
package controltest
