// Package subscribe keeps the sidecar's configuration in step with the distributor. In come updates from the config stream and
// the wishes of outbound for services that were never called before; out go tables, trust bundles, acknowledgements and the
// snapshot file. An update is in the table before it is acknowledged.
//
// It must never make traffic wait: what serves requests reads the table and at most waits, with its own deadline, on a channel.
// It must never go backwards: an update that is behind what was applied ends the session.
package subscribe
