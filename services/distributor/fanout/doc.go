// Package fanout streams compiled configuration to sidecars and knows who has applied what.
//
// In come states from compile, one after the other, and sidecars' streams; out go updates, and the comparison of what sidecars
// acknowledged with what somebody wants applied. For each stream only the newest state counts: a sidecar has at most one
// update under way, a slow one skips states, and none waits for another. Resources are encoded once and shared.
//
// It must never give a sidecar what belongs to another identity, never lead it behind what it has applied, and never store
// anything that cannot be rebuilt from the sources and the sidecars.
package fanout
