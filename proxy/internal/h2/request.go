package h2

import (
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/net/http2/hpack"

	"github.com/weft-mesh/weft/internal/match"
	"github.com/weft-mesh/weft/proxy/internal/flow"
)

// request is a request's head. It does not change once it has been parsed, so that any goroutine may look at it.
type request struct {
	fields    []hpack.HeaderField // as received, pseudo-headers first
	method    string
	scheme    string
	target    string // as sent
	forward   string // as sent on: with the path that the rules have seen
	authority string
	path      []byte        // cleaned
	length    int64         // declared, -1 when not
	timeout   time.Duration // of grpc-timeout
	deadline  bool          // there is a grpc-timeout
	grpc      bool
	id        string
	newID     bool // id was not in the request
}

var _ flow.Request = (*request)(nil)

// Method implements match.Request.
func (r *request) Method() []byte { return view(r.method) }

// Path implements match.Request.
func (r *request) Path() []byte { return r.path }

// Target implements flow.Request.
func (r *request) Target() []byte { return view(r.target) }

// Authority implements flow.Request.
func (r *request) Authority() []byte { return view(r.authority) }

// Idempotent implements flow.Request.
func (r *request) Idempotent() bool {
	switch r.method {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		return true
	}
	return false
}

// Header implements match.Request. What only proxies of the mesh may say is absent. Cookies, which HTTP/2 may split, are joined as RFC 9113 says.
func (r *request) Header(name string) (value []byte, ok bool) {
	joined, separator := false, ", "
	if name == "cookie" {
		separator = "; "
	}
	for i := range r.fields {
		f := &r.fields[i]
		switch {
		case f.Name != name || f.IsPseudo() || own(name):
		case !ok:
			value, ok = view(f.Value), true
		default:
			if !joined {
				value, joined = append([]byte(nil), value...), true
			}
			value = append(append(value, separator...), f.Value...)
		}
	}
	if !ok && name == "host" && r.authority != "" {
		return view(r.authority), true
	}
	return value, ok
}

// parse takes over a decoded header list that validate has passed. ok is false when the path is not one that can be matched
// safely, or the method is one that this engine does not relay.
func (r *request) parse(fields []hpack.HeaderField, head *head) (ok bool) {
	r.fields = append(make([]hpack.HeaderField, 0, len(fields)), fields...)
	r.method, r.scheme, r.target, r.authority = head.method, head.scheme, head.path, head.authority
	r.length = head.length
	if r.authority == "" {
		r.authority = head.host
	}
	for i := range fields {
		switch f := &fields[i]; f.Name {
		case "content-type":
			r.grpc = isGRPC(f.Value)
		case "grpc-timeout":
			r.timeout, r.deadline = parseTimeout(f.Value)
		case "x-request-id":
			if r.id == "" {
				r.id = f.Value
			}
		}
	}
	if r.id == "" {
		r.id, r.newID = newID(), true
	}
	if r.method == "CONNECT" {
		return false
	}
	if r.path, ok = match.CleanPath(nil, view(r.target)); !ok || !printable(r.target) {
		return false
	}
	r.forward = r.target
	path, query, more := strings.Cut(r.target, "?")
	if path != string(r.path) {
		r.forward = string(r.path)
		if more {
			r.forward += "?" + query
		}
	}
	return r.target != "*" || r.method == "OPTIONS"
}

// printable says that a target has nothing in it that ends a word or a line, or that no request may carry.
func printable(target string) bool {
	for i := range len(target) {
		if c := target[i]; c <= ' ' || c == 0x7f || c == '#' {
			return false
		}
	}
	return true
}

// isGRPC says whether a content type is gRPC's: the name alone or with a parameter or a message encoding.
func isGRPC(contentType string) bool {
	const name = "application/grpc"
	if len(contentType) < len(name) || contentType[:len(name)] != name {
		return false
	}
	rest := contentType[len(name):]
	return rest == "" || rest[0] == '+' || rest[0] == ';'
}

// parseTimeout reads a grpc-timeout: at most eight digits and a unit.
func parseTimeout(s string) (time.Duration, bool) {
	if len(s) < 2 || len(s) > 9 {
		return 0, false
	}
	n, err := strconv.ParseUint(s[:len(s)-1], 10, 32)
	if err != nil {
		return 0, false
	}
	var unit time.Duration
	switch s[len(s)-1] {
	case 'H':
		unit = time.Hour
	case 'M':
		unit = time.Minute
	case 'S':
		unit = time.Second
	case 'm':
		unit = time.Millisecond
	case 'u':
		unit = time.Microsecond
	case 'n':
		unit = time.Nanosecond
	default:
		return 0, false
	}
	// 99999999 hours are more than a Duration holds.
	if n > uint64(1<<63-1)/uint64(unit) {
		return 1<<63 - 1, true
	}
	return time.Duration(n) * unit, true
}

// formatTimeout is a grpc-timeout that is not longer than d.
func formatTimeout(d time.Duration) string {
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{time.Microsecond, "u"}, {time.Millisecond, "m"}, {time.Second, "S"}, {time.Minute, "M"}} {
		if n := d / u.unit; n < 1e8 {
			return strconv.FormatInt(int64(max(n, 1)), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(d/time.Hour), 10) + "H"
}

// view looks at a string as bytes, without a copy. Nobody may write to it.
func view(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
