package h1

import (
	"bytes"

	"github.com/weft-mesh/weft/internal/match"
	"github.com/weft-mesh/weft/proxy/internal/flow"
)

// Request is one parsed request head. It implements flow.Request. Use it again for the next request: it keeps its memory.
type Request struct {
	fields

	method    []byte
	target    []byte // origin form, as sent
	authority []byte
	path      []byte
	minor     int

	// Body tells how the body is delimited, Length how long it is if Sized.
	Body   Framing
	Length int64
	// Close: the client wants no further exchange on the connection.
	Close bool
	// Continue: the client waits for 100 before it sends the body.
	Continue bool
	// Connect: the method is CONNECT; there is no path then.
	Connect bool
	// Upgrade lists the protocols that the client would switch to, those that are allowed; empty: none.
	Upgrade []byte
	// Trailers: the client takes fields after the response's body.
	Trailers bool

	pathScratch, joinScratch, upgradeScratch []byte
}

var _ flow.Request = (*Request)(nil)

// Limit sets how many fields a head may have and how long a target may be. It holds for all requests that are parsed later.
func (r *Request) Limit(mostFields, longestTarget int) { r.most, r.longest = mostFields, longestTarget }

// Parse reads a complete head, as long as HeadEnd said. The request refers to raw until the next Parse.
func (r *Request) Parse(raw []byte) error {
	*r = Request{fields: r.fields, pathScratch: r.pathScratch, joinScratch: r.joinScratch, upgradeScratch: r.upgradeScratch}
	n := bytes.IndexByte(raw, '\n')
	if n < 1 {
		return ErrStartLine
	}
	if err := r.startLine(raw[:n-1]); err != nil {
		return err
	}
	if err := r.parse(raw, n+1); err != nil {
		return err
	}
	if err := r.host(); err != nil {
		return err
	}
	if err := r.cleanPath(); err != nil {
		return err
	}
	return r.semantics()
}

func (r *Request) startLine(line []byte) error {
	method, rest, ok := bytes.Cut(line, []byte{' '})
	if !ok || len(method) == 0 || len(method) > 32 || !all(method, tokenChar) {
		return ErrStartLine
	}
	i := bytes.LastIndexByte(rest, ' ')
	if i <= 0 {
		return ErrStartLine
	}
	target, version := rest[:i], rest[i+1:]
	switch string(version) {
	case "HTTP/1.1":
		r.minor = 1
	case "HTTP/1.0":
	default:
		return ErrVersion
	}
	if len(target) > bound(r.longest, maxTarget) {
		return ErrTargetSize
	}
	if !all(target, targetChar) {
		return ErrTarget
	}
	r.method, r.target = method, target
	r.Connect = string(method) == "CONNECT"
	return nil
}

// host finds the one authority: the target's when it has one, else the Host field.
func (r *Request) host() error {
	count := 0
	for i := range r.list {
		if r.list[i].id == host {
			count++
			r.authority = r.at(r.list[i].value)
		}
	}
	if count > 1 || count == 0 && r.minor == 1 || !all(r.authority, hostChar) {
		return ErrHost
	}
	if r.Connect || r.target[0] == '/' || string(r.target) == "*" {
		return nil
	}
	rest := r.target
	switch {
	case len(rest) > 7 && fold(rest[:7], "http://"):
		rest = rest[7:]
	case len(rest) > 8 && fold(rest[:8], "https://"):
		rest = rest[8:]
	default:
		return ErrTarget
	}
	end := bytes.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	r.authority, r.target = rest[:end], rest[end:]
	if len(r.authority) == 0 || !all(r.authority, hostChar) {
		return ErrHost
	}
	return nil
}

func (r *Request) cleanPath() error {
	if r.Connect {
		return nil
	}
	target := r.target
	if len(target) == 0 || target[0] == '?' { // absolute form without a path
		r.pathScratch = append(append(r.pathScratch[:0], '/'), target...)
		r.target = r.pathScratch
		r.path = r.pathScratch[:1]
		return nil
	}
	path, ok := match.CleanPath(r.pathScratch[:0], target)
	if !ok || path[0] == '*' && string(r.method) != "OPTIONS" {
		return ErrTarget
	}
	r.path = path
	if &path[0] != &target[0] && cap(path) > cap(r.pathScratch) {
		r.pathScratch = path
	}
	return nil
}

func (r *Request) semantics() (err error) {
	if r.Body, r.Length, err = r.framing(); err != nil {
		return err
	}
	if r.Body == Chunked && r.minor == 0 {
		return ErrEncoding
	}
	o := r.connection()
	r.Close = o.close || r.minor == 0 && !o.keepAlive
	for i := range r.list {
		fd := &r.list[i]
		switch fd.id {
		case expect:
			r.Continue = r.Continue || r.minor == 1 && r.HasBody() && fold(r.at(fd.value), "100-continue")
		case te:
			r.Trailers = r.Trailers || listed(r.at(fd.value), []byte("trailers"))
		}
	}
	// With a body it would not be clear which bytes are whose.
	if o.upgrade && r.minor == 1 && !r.HasBody() {
		r.upgradeScratch = r.upgrades(r.upgradeScratch[:0])
		r.Upgrade = r.upgradeScratch
	}
	return nil
}

// HasBody says whether any byte of a body follows the head.
func (r *Request) HasBody() bool { return r.Body == Chunked || r.Body == Sized && r.Length > 0 }

// Minor is the minor version: 0 or 1.
func (r *Request) Minor() int { return r.minor }

// Method is the method as sent.
func (r *Request) Method() []byte { return r.method }

// Path is the clean path.
func (r *Request) Path() []byte { return r.path }

// Target is path and query as sent.
func (r *Request) Target() []byte { return r.target }

// Authority is the host that the client asked for.
func (r *Request) Authority() []byte { return r.authority }

// Header finds a field as the next hop will see it. What goes no further is absent, so that no rule rests on it.
func (r *Request) Header(lower string) (value []byte, ok bool) {
	switch lower {
	case "host":
		return r.authority, len(r.authority) > 0
	case "upgrade":
		return r.Upgrade, len(r.Upgrade) > 0
	case "te":
		return []byte("trailers"), r.Trailers
	case "expect":
		return []byte("100-continue"), r.Continue
	}
	value, r.joinScratch, ok = r.get(lower, r.joinScratch)
	return value, ok
}

// RequestID is the client's x-request-id; empty without one.
func (r *Request) RequestID() []byte {
	for i := range r.list {
		if r.list[i].id == requestID {
			return r.at(r.list[i].value)
		}
	}
	return nil
}

// Idempotent says that the method may be repeated.
func (r *Request) Idempotent() bool {
	switch string(r.method) {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		return true
	}
	return false
}

// View is a copy that shares the head's bytes and nothing that changes: another goroutine may evaluate rules on it while
// the request lives.
func (r *Request) View() Request {
	return Request{
		fields: fields{raw: r.raw, list: r.list, nominated: r.nominated},
		method: r.method, target: r.target, authority: r.authority, path: r.path, minor: r.minor,
		Continue: r.Continue, Upgrade: r.Upgrade, Trailers: r.Trailers,
	}
}
