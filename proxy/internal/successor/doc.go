// Package successor starts the process that is to take a sidecar's place. A sidecar with a supervisor has the supervisor start
// it, which knows then that it is no crash when the old one ends; a sidecar without one starts it as a child.
//
// It must never decide whether the new process is good: whoever hands the place over does.
package successor
