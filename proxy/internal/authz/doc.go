// Package authz is the stage that decides whether a peer may make a request of this workload. In come the access rules of
// the current table, the peer's verified identity and a view of the request; out comes the name of the rule that lets it
// pass. It runs before routing, so that no route can widen access.
//
// It must never look at addresses, ports or header values as a proof of who somebody is, and it must never allow by
// default: absent rules deny.
package authz
