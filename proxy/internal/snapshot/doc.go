// Package snapshot turns compiled configuration into what the sidecar routes by. In come the distributor's resources and index
// shards, or the file in which an earlier process left them; out go immutable tables, refusals by resource, and that file.
// It stands between subscribe, which speaks with the distributor, and table, which the stages of a request read.
//
// A resource is accepted whole or refused whole: a refused one hurts only itself, the last good version stays. It must never
// guess at permission: an access resource with anything in it that this program does not know is refused, and without a good
// one everything is denied.
package snapshot
