package proxy

import "github.com/weft-mesh/weft/proxy/internal/capture"

// RedirectConfig says what the kernel redirects where.
type RedirectConfig = capture.Config

// DefaultRedirect has the conventional ports.
func DefaultRedirect() RedirectConfig { return capture.Default() }

// Redirect programs the network namespace of the process, so that a sidecar with Capture.Transparent gets the app's traffic. It
// replaces what an earlier call did.
func Redirect(cfg RedirectConfig) error { return capture.Install(cfg) }

// StopRedirect takes away everything that Redirect did. Doing so twice is no error.
func StopRedirect() error { return capture.Remove() }
