// Package conformance runs suites and programs that others wrote through the built sidecars: h2spec's cases, the client and
// server by which gRPC implementations are tested against each other, WebSocket libraries, and clients of one HTTP version with
// servers of another. Its tests need WEFT_BIN (the folder of the built binaries) and WEFT_INTEROP (that of gRPC's programs);
// `make conformance` sets both.
package conformance
