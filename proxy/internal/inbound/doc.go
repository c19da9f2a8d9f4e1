// Package inbound assembles the stages for what reaches a workload: identity (on the mesh port), authz, forward to the
// program on loopback.
//
// In come the mesh listener, where TLS tells who calls and what for, and the plaintext listener, where nobody is anybody and
// the mTLS mode decides; out goes one flow.Record for each request or connection. Access is checked before anything else
// is done for a request, by the newest table, and again for everything under way when it changes: what is no longer
// allowed ends within moments. A sidecar that was never configured denies.
package inbound
