package rpc

import "google.golang.org/grpc/status"

// StatusOf makes the status that a caller gets for an error; for the gateway, whose own server has no SPIFFE mTLS and so not
// this package's interceptors.
func StatusOf(err error) *status.Status {
	if err == nil {
		return nil
	}
	return toStatus(err)
}
