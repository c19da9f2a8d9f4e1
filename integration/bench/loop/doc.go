// Package loop is a bare event loop over epoll, for a client and an app that must cost little beside what is measured: one
// thread, level-triggered, no goroutine for a connection, no allocation for an event.
package loop
