// Package backoff spaces out attempts: exponentially growing delays with full jitter, so that many clients that lost the same
// server do not come back at the same moment. It owns no goroutine and no timer beyond the one of a Wait, and it must never
// decide whether an attempt is worth repeating: its caller does.
package backoff
