// Package admin is the sidecar's door for people and for the program that started it: health, readiness, metrics, what
// configuration is held, deregistration and profiles, as HTTP on loopback. It asks the parts through functions that it is
// given and owns nothing but the server.
//
// It must never show a key, and never answer to a name: a page in a browser that had its name resolve to loopback would
// otherwise reach it.
package admin
