// Package register keeps the sidecar's workload in discovery's catalogue: from the moment the app's port accepts connections,
// by a stream with heartbeats, until it is taken out. In comes what the workload says of itself; out goes the revision at
// which it became visible, or at which it was gone.
//
// It must never register a workload whose app does not answer yet, nor one that has been taken out.
package register
