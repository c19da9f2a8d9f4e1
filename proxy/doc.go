// Package proxy is the sidecar: it stands beside one program, gives it an identity, carries its requests to other workloads
// over mTLS and decides which requests reach it. This package only assembles: it opens the listeners, starts the parts in the
// order in which they need each other, and stops them in the reverse order so that no request is lost.
//
// It must never link the control plane's stores, and never make a request wait for the control plane.
package proxy
