package h1

import "bytes"

// Response is one parsed response head. Use it again for the next response: it keeps its memory.
type Response struct {
	fields

	// Status is the code.
	Status int
	// Body tells how the body is delimited, Length how long it is if Sized.
	Body   Framing
	Length int64
	// Close: no further exchange is possible on the connection.
	Close bool
	// Upgraded: the connection has switched to what the request asked for.
	Upgraded bool

	reason    []byte
	declared  int64 // content length of a response that has no body, -1 without
	minor     int
	advertise bool // the server names protocols to which it would switch
}

// Limit sets how many fields a head may have. It holds for all responses that are parsed later.
func (r *Response) Limit(mostFields int) { r.most = mostFields }

// Parse reads a complete head, as long as HeadEnd said, of a response to method.
func (r *Response) Parse(raw, method []byte) error {
	*r = Response{fields: r.fields}
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
	return r.semantics(method)
}

func (r *Response) startLine(line []byte) error {
	if len(line) < 12 || line[8] != ' ' {
		return ErrStartLine
	}
	switch string(line[:8]) {
	case "HTTP/1.1":
		r.minor = 1
	case "HTTP/1.0":
	default:
		return ErrVersion
	}
	code, ok := decimal(line[9:12])
	if !ok || code < 100 || code > 999 || len(line) > 12 && line[12] != ' ' {
		return ErrStartLine
	}
	r.Status = int(code)
	if len(line) > 13 {
		r.reason = line[13:]
	}
	if !all(r.reason, valueChar) {
		return ErrStartLine
	}
	return nil
}

func (r *Response) semantics(method []byte) error {
	body, length, err := r.framing()
	if err != nil {
		return err
	}
	if body == Chunked && r.minor == 0 {
		return ErrEncoding
	}
	o := r.connection()
	r.Close = o.close || r.minor == 0 && !o.keepAlive
	r.declared = -1
	r.advertise = o.upgrade && r.Status == 426
	switch {
	case r.Status == 101:
		r.Upgraded = o.upgrade
		r.Body, r.Length = NoBody, -1
	case r.Status < 200 || r.Status == 204:
		r.Body, r.Length = NoBody, -1
	case r.Status == 304 || string(method) == "HEAD":
		r.Body, r.Length, r.declared = NoBody, -1, length
	case body == NoBody:
		r.Body, r.Length, r.Close = UntilClose, -1, true
	default:
		r.Body, r.Length = body, length
	}
	return nil
}

// Informational says that another response to the same request follows.
func (r *Response) Informational() bool { return r.Status < 200 && r.Status != 101 }

// MeshError is the value of weft-error, which counts only when another sidecar sent the response; nil without one.
func (r *Response) MeshError() []byte {
	for i := range r.list {
		if fd := &r.list[i]; fd.id == weft && fold(r.at(fd.name), "weft-error") {
			return r.at(fd.value)
		}
	}
	return nil
}

// Header finds a field.
func (r *Response) Header(lower string) (value []byte, ok bool) {
	value, _, ok = r.get(lower, nil)
	return value, ok
}
