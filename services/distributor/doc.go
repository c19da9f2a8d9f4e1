// Package distributor compiles configuration and streams it to sidecars.
//
//	policy.Watch, discovery.Watch, identity.WatchBundles -> intake -> compile -> fanout -> sidecars
//
// It owns nothing that it could not rebuild: the world comes from the three sources, what sidecars hold and have applied from
// the sidecars themselves. Any replica serves any sidecar and answers for the whole mesh by asking the others.
//
// It must never be called by the sources, never store, and never let one sidecar or one bad object hold up the others.
package distributor
