// Package listener is where connections begin: it accepts them, bounds how many there are, knows which of them are in the
// middle of something, and lets them end in peace when the sidecar drains.
//
// In come net.Listeners and a handler; out goes each connection as a Session, one goroutine each. It knows no protocol, and
// it must never drop an accepted connection silently or spin when the process has no file descriptors left.
package listener
