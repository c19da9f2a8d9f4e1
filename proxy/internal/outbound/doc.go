// Package outbound assembles the stages for what a workload's program sends: detect, route, balance, pool (with identity
// below it), forward. In explicit mode it serves loopback listeners, each fixed to one service and port.
//
// In come listeners and the registries that outlive tables; out goes one flow.Record for each request or connection. Each
// request loads the newest table once for each of its tries, so that a retry never goes to an endpoint that is gone. It
// must never wait for the control plane longer than hold allows, and never send plaintext where the mesh is strict.
package outbound
