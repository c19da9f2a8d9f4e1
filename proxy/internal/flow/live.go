package flow

import "time"

// Stages of what is under way.
const (
	Idle       = "idle"       // the client's connection waits for a request
	Connecting = "connecting" // no endpoint has it yet: it is read, decided, or the endpoint is being connected
	Waiting    = "waiting"    // an endpoint has the request, or part of it, and has not answered
	Answering  = "answering"  // the response has begun
	Streaming  = "streaming"  // bytes or datagrams pass both ways
)

// Live is one request, connection or session under way, as somebody who looks in sees it.
type Live struct {
	Direction Direction
	Protocol  Protocol
	// Stage is one of the stages.
	Stage string
	// Since is when it began; of a connection that is idle, when its last request ended.
	Since time.Time
	// Client is the address that it comes from; Peer its verified identity, empty where there is none.
	Client, Peer string
	// Service and Endpoint, once they are known.
	Service, Endpoint string
	// Request is method and authority of HTTP. Paths may carry secrets.
	Request string
	// Sent and Received are body bytes so far, from and to the client. Those of HTTP/1.1 are known at the end only.
	Sent, Received int64
}
