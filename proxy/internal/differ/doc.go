// Package differ compares how Weft reads HTTP/1.1 with how others do: it has no code but its tests. Only `make scripts` and `make fuzz`
// run them, because they need real programs.
//
// In come bytes of a client, or of a program. Each way through the sidecars ends in front of another program (net/http, nginx,
// HAProxy), and a tap on the wire before it keeps what went over. A request that Weft forwards must be the one that the program
// sees, byte for byte, and nothing may be left over between them; a response that reaches a client must be the one that net/http
// would have read, and what follows it must reach nobody.
package differ
