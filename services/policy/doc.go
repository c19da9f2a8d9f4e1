// Package policy is the service that owns intent: the routes, access policies and mesh settings that people write.
//
// In come writes from the gateway, already attributed to a person. Each is validated by the model, guarded by an etag, made
// durable in the service's own part of the store, and answered with its revision. Out goes a watch that resumes by revision;
// the distributor compiles configuration from it. Every replica answers every call: reads go to the store, so that what one
// replica has acknowledged every other one shows.
//
// It must never know endpoints, workloads or sidecars: whether a service that a route names exists is told by whoever sees
// both, the gateway.
package policy
