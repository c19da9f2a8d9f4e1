// Package state turns a service's part of the store into typed collections and a feed.
//
// A Collection reads and writes objects of one kind: what it writes is guarded by etags, so that two writers never lose an
// update, and a write that changes nothing makes no revision. A Feed mirrors all of a service's collections in memory and
// serves any number of watchers, who resume by revision and are never left with a silent gap.
//
// The layout of keys, <collection>/<namespace>/<name> with binary messages as values, lives here only. The package must never
// know which service it works for, nor what a route or a workload means.
package state
