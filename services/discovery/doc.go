// Package discovery is the service that owns the catalogue: which services there are, which workloads serve them, and where.
//
// In come three sources: registrations of sidecars with leases, objects that administrators write, and static files. Out go
// lists, endpoints derived from workloads, and a watch that resumes by revision. Who may be an endpoint is decided here, by
// each service's list of accounts and the caller's verified identity.
//
// A lease costs the store nothing while it lives: the replica that has a sidecar's stream says so once in the workload and
// keeps the heartbeats to itself. When the stream breaks and nobody takes over within the lease, the workload becomes UNKNOWN,
// never absent; when a replica dies, the others do the same for its workloads. Nothing expires until one lease and a reconnect
// time after this replica began to follow the store, and a sudden loss of most of a service is not believed at all.
//
// The package must never decide policy, and never forget a workload that nobody deregistered.
package discovery
