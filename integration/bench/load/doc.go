// Package load is the client in front of the proxies: it makes one kind of load for a time, checks every answer, and says how
// long answers took and how much CPU time the proxies used meanwhile. Package app is what answers.
//
// A process of it is driven by lines of JSON on its standard input, one Spec each, each answered by a line, one Result.
package load
