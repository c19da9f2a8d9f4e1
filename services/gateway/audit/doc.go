// Package audit keeps who changed what, and who was not allowed to, where every replica of the gateway reads it.
//
// Events lie in the gateway's own part of the store and are only ever added, until they are too old or too many:
//
//	audit/<day>/<nanoseconds since 1970>-<random>
//
// They are ordered by the clock of the replica that wrote them. An event that the store does not take is not lost: each one is
// a line of the gateway's log too. The package must never see what a request held beyond the names of its objects.
package audit
