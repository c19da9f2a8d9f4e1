// Package forward is the last stage: it exchanges HTTP/1.1 messages between a client's connection and one to an endpoint, and
// relays byte streams.
//
// In come a client's connection and a Decider, by which the assembly walks the stages before this one for each request and
// try; out go the answer and one flow.Record for each request. The goroutine of the client's connection does all I/O, also
// upstream; a second one runs only while a request body is streamed or bytes are relayed. Bodies are never held: what has
// arrived is sent before more is waited for.
//
// It must never replay a request unless that is provably harmless, never re-use a connection whose exchange did not end
// exactly where both sides think it did, and never answer a failure without its reason.
package forward
