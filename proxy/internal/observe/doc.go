// Package observe counts what happened. In comes one flow record at the end of every request or connection; out go golden
// metrics by edge for Prometheus, cumulative reports for the telemetry service, and an access log for those who want one.
//
// It must never make a request wait: a known edge costs one lookup and some atomic additions, the access log drops lines and
// the report stream skips beats rather than hold anything up. The number of edges is bounded; what is beyond counts as one.
package observe
