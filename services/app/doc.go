// Package app turns a list of services into a process: it reads the configuration, opens the store, gets the process its
// identities, listens, dials, and runs everything until a signal. The six binaries and `weft up` differ only in the list.
//
// In come settings and Builds; each Build gets an Env, in which build.go files find what the process lends, and which nothing
// else may see. The order is always the same: store, ports, authority, services, servers, announcement; the process stops in
// reverse. The package knows no service and never decides who may call what: services register their rules, and a method
// without one stops the process before it serves.
package app
