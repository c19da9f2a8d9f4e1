// Package intake follows the three sources of the world (policy, discovery, identity) through their Watch APIs and hands out
// complete worlds.
//
// Each source is watched on its own: it resumes from its last complete revision, backs off with jitter when it is down, and
// keeps its last known state meanwhile. Nothing is handed out before every source has given a first complete state; after
// that, changes that come close together are handed out as one world.
//
// It must never go backwards: a source that answers with less than what was already seen of the same epoch is left and
// asked again. It must never let one object that it cannot read hold up the others.
package intake
