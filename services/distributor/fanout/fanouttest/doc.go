// Package fanouttest has what tests of the distributor need beside it: a server with real identities in memory, and sidecars
// that follow the contract of the config stream and fail the test when the distributor does not.
package fanouttest
