package h2

import (
	"crypto/rand"
	"encoding/hex"
	"strings"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/weft-mesh/weft/proxy/internal/flow"
)

// own says whether a field is one that only proxies of the mesh may say. Gateways to programs often make "-" and "_" the same.
func own(name string) bool {
	return strings.HasPrefix(name, "weft-") || strings.HasPrefix(name, "weft_")
}

// upstreamFields is the request's header list as it goes to the endpoint: without what pretends to come from the mesh, with
// what this hop adds. left is the time to the client's deadline, when that is to be told anew.
func (x *exchange) upstreamFields(left time.Duration) []hpack.HeaderField {
	r := &x.req
	fields := make([]hpack.HeaderField, 0, len(r.fields)+2)
	for _, f := range r.fields {
		if own(f.Name) {
			continue
		}
		switch f.Name {
		case ":path":
			f.Value = r.forward
		case "grpc-timeout":
			if left > 0 {
				f.Value = formatTimeout(left)
			}
			f.Sensitive = true
		case "x-request-id", "content-length":
			// Not a secret, but different every time: not worth a place in the compression table.
			f.Sensitive = true
		}
		fields = append(fields, f)
	}
	if r.newID {
		fields = append(fields, hpack.HeaderField{Name: "x-request-id", Value: r.id, Sensitive: true})
	}
	if x.server.cfg.Direction == flow.Inbound && !x.at.Peer.IsZero() {
		fields = append(fields, hpack.HeaderField{Name: "weft-source", Value: x.at.Peer.String()})
	}
	return fields
}

// downstreamFields removes, in place, what only a proxy of the mesh may say, unless one said it.
func (x *exchange) downstreamFields(fields []hpack.HeaderField) []hpack.HeaderField {
	if x.server.cfg.Direction == flow.Outbound && x.meshed() {
		return fields
	}
	return stripOwn(fields)
}

// meshed says whether another sidecar stands before the endpoint of the current try.
func (x *exchange) meshed() bool {
	return !x.plan.Plain && x.choice.Endpoint != nil && x.choice.Endpoint.MeshPort != 0
}

func stripOwn(fields []hpack.HeaderField) []hpack.HeaderField {
	kept := fields[:0]
	for _, f := range fields {
		if !own(f.Name) {
			kept = append(kept, f)
		}
	}
	return kept
}

// late removes, in place, what may not come behind a body: it would change a message that has been judged.
func late(fields []hpack.HeaderField) []hpack.HeaderField {
	kept := fields[:0]
	for _, f := range fields {
		switch f.Name {
		case "authorization", "content-length", "cookie", "host", "set-cookie", "te":
		default:
			kept = append(kept, f)
		}
	}
	return kept
}

// newID makes a request id: 32 hex digits.
func newID() string {
	var raw [16]byte
	_, _ = rand.Read(raw[:]) // never fails
	return hex.EncodeToString(raw[:])
}
