// Package rpctext takes the words of gRPC out of messages that people read. What a connection or a call failed of stays; codes,
// "desc =" and quotes inside quotes go. It works on text only and decides nothing: code that needs to know what happened asks
// for the status.
package rpctext
