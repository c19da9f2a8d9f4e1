// Package compile turns the world (services, workloads, routes, access policies, mesh settings and the trust bundle) into the
// resources that sidecars hold.
//
// In comes a World, an immutable value; out goes a State, immutable too, that shares every resource that did not change with
// the State before it. The package is pure: no clock, no logger, no I/O, no wire format. The same World gives the same
// State whatever the order in which its objects arrived and whatever State came before (only MadeFrom remembers history: it
// is the vector at which a resource last changed).
//
// It must never decide who receives what: that is fanout's job.
package compile
