// Package supervise keeps a program's sidecar running for `weft run`: it starts it again when it dies, starts the new process of an
// upgrade when the sidecar asks for it, and does not take the end of a process that has given its place away for a crash.
//
// It must never decide whether a new process is good: the sidecar that runs does, and says so.
package supervise
