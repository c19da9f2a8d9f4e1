// Package app is the program behind the proxies: it answers HTTP/1.1, one gRPC method over plaintext HTTP/2, and TCP, as cheaply
// as it can, and counts the connections that proxies open to it, which tells whether they reuse them.
package app
