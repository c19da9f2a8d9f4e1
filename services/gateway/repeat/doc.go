// Package repeat gives a call that is made again with the same idempotency key the answer of the first, at every replica of the
// gateway: what was answered lies in the gateway's own part of the store.
//
//	repeats/default/<sha256 of caller and key>
//
// Of all replicas that a key comes to at once, the store lets exactly one carry the call out. The package must never keep a
// secret, nor an answer that leaves open what happened.
package repeat
