package flow

// Reason is why a proxy failed a request. None means that it did not. This file is the one place that maps reasons to HTTP
// and gRPC statuses, the weft-error header, metric labels, log fields and advice.
type Reason uint8

// The reasons.
const (
	None             Reason = iota
	NoRoute                 // the called name or port is not a service of the mesh
	NoBackend               // the chosen backend's service does not exist
	NotSubscribed           // the service exists, but its configuration is not here (no control plane)
	NotReady                // this sidecar has no identity or configuration yet
	Denied                  // access control refused the request
	NoEndpoint              // the service has no workload that could answer
	Connect                 // no connection to the endpoint could be made
	TLS                     // the peer could not be verified
	UpstreamReset           // the connection broke before the response was complete
	UpstreamProtocol        // the response was not valid
	Timeout                 // the request took longer than allowed
	BadRequest              // the client's request was not valid
	TooLarge                // the client's headers are larger than allowed
	Overload                // a limit of this sidecar is reached
	Draining                // this sidecar is stopping
	Plaintext               // plaintext where only mTLS is accepted
	Egress                  // a destination outside of the mesh that the mesh does not allow
	Loop                    // the destination is the sidecar itself
	ClientGone              // the client closed before the response was complete
	Tunnel                  // CONNECT: what it carries could not be judged
	TooSlow                 // the client sent its request, or read its response, slower than allowed
	reasons
)

// Methods are those that an answer to CONNECT names as allowed; others, that the program may know, are relayed too.
const Methods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE"

// Info is what a reason means on every surface.
type Info struct {
	// Name in the weft-error header, metric labels and logs.
	Name string
	// HTTP status of the answer.
	HTTP int
	// GRPC status of the answer.
	GRPC int
	// Advice tells the caller what to do.
	Advice string
}

var infos = [reasons]Info{
	None:             {"", 0, 0, ""},
	NoRoute:          {"no_route", 404, 12, "no service of the mesh has this name and port: see `weft services`"},
	NoBackend:        {"no_backend", 503, 14, "the route's backend does not exist: see `weft get routes`"},
	NotSubscribed:    {"not_subscribed", 503, 14, "the control plane is away and this service was never called before: see `weft status`"},
	NotReady:         {"not_ready", 503, 14, "the sidecar has no identity or configuration yet: see `weft status`"},
	Denied:           {"denied", 403, 7, "no access policy allows this caller to do this: see `weft get accesspolicies`"},
	NoEndpoint:       {"no_endpoint", 503, 14, "no workload serves this backend: see `weft services`"},
	Connect:          {"connect", 503, 14, "the endpoint refused the connection or did not answer: is the program running?"},
	TLS:              {"tls", 503, 14, "the endpoint's identity could not be verified: see `weft status`"},
	UpstreamReset:    {"upstream_reset", 502, 14, "the endpoint closed before its response was complete; the request may have had effects"},
	UpstreamProtocol: {"upstream_protocol", 502, 13, "the endpoint's response was not valid HTTP"},
	Timeout:          {"timeout", 504, 4, "the request took longer than its route allows"},
	BadRequest:       {"bad_request", 400, 3, "the request was not valid HTTP"},
	TooLarge:         {"too_large", 431, 3, "the request's headers are larger than allowed"},
	Overload:         {"overload", 503, 8, "a limit of the sidecar is reached: try again later"},
	Draining:         {"draining", 503, 14, "the workload is stopping: try again"},
	Plaintext:        {"plaintext", 403, 7, "only mTLS is accepted here: call through a sidecar"},
	Egress:           {"egress", 403, 7, "the destination is neither in the mesh nor an external service that it allows: see `weft get externalservices`"},
	Loop:             {"loop", 508, 9, "the destination is the caller's own sidecar: call a service or an address of another program"},
	ClientGone:       {"client_gone", 499, 1, ""},
	Tunnel:           {"tunnel", 405, 12, "CONNECT is not served, because no rule sees into a tunnel: call the service itself, and open a WebSocket by Upgrade"},
	TooSlow:          {"too_slow", 408, 4, "the request did not arrive in time, or its response was not read in time"},
}

// Info returns what the reason means.
func (r Reason) Info() Info { return infos[r] }

// ReasonNamed finds a reason by its name.
func ReasonNamed(name string) (Reason, bool) {
	for r := None + 1; r < reasons; r++ {
		if infos[r].Name == name {
			return r, true
		}
	}
	return None, false
}

// String is the reason's name.
func (r Reason) String() string { return infos[r].Name }
