// Package sim is many sidecars in one process, as the control plane sees them: each has an SVID of its own from the identity
// service, a config stream over a connection of its own on which it applies and acknowledges what it is sent, and a
// registration that it keeps alive. It has no traffic and no tables: what it saves, it saves by not being a proxy.
//
// A process of it is driven by requests on its standard input, one JSON object a line, each answered by one line.
package sim
