// Package uplink keeps one conversation with a service of the control plane going: it picks a replica, runs a session on a
// connection to it, and after the session's end goes to the next replica, with jitter. In come addresses and what a session
// does; nothing comes out. Nothing that serves traffic may ever wait for it.
package uplink
