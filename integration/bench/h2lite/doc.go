// Package h2lite is as much of HTTP/2 as the benchmark's client and app need: frames, and the header blocks of one gRPC method,
// which are written without an encoder. It is not careful: proxies that are measured are not hostile.
package h2lite
