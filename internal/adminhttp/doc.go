// Package adminhttp serves what operators look at: /healthz (the process answers), /readyz (it can do its job, or why not),
// /metrics (Prometheus) and /debug/pprof. It has a listener of its own, never shares one with an API, and never shows
// configuration or secrets.
package adminhttp
