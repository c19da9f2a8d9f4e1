// Package hold lets a request wait, for a bounded time, for what the sidecar does not have yet: its first table and SVID
// after a start, or the body of a service that is called for the first time.
//
// In come the table holder, the identity source and a callback that subscribes; out goes the table with the service, or the
// reason why there is none. It never waits once the table has what is asked for: then it is two atomic loads and a map
// lookup. inbound, outbound and h2 use it; it is no stage and knows no connection.
package hold
