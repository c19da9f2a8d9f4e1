// Package pool is the stage that keeps HTTP/1.1 connections to endpoints for re-use, so that many requests cost few
// handshakes.
//
// In come an endpoint and a function that dials; out goes a connection that is believed to live. Connections are kept by
// endpoint, own identity and expected peer identity: nobody ever gets one that was made for another. The last one put in
// is the first one out, so that a smaller load uses fewer. A connection that the other end closed, that said something
// unasked, that is too old or that was made under an older trust bundle is never handed out. TCP connections and upgraded
// ones never come back here.
package pool
