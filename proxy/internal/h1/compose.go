package h1

import "strconv"

// RequestEdit is what a proxy changes in a request.
type RequestEdit struct {
	// RequestID is added when the client sent none.
	RequestID string
	// Source is the verified peer, told to the app as weft-source; empty: not told.
	Source string
	// Host is used when a client of HTTP/1.0 named none.
	Host string
}

// AppendRequest writes the head of the request for the next hop.
func AppendRequest(dst []byte, r *Request, edit RequestEdit) []byte {
	dst = append(dst, r.method...)
	dst = append(dst, ' ')
	dst = append(dst, r.path...)
	dst = append(dst, query(r.target)...)
	dst = append(dst, " HTTP/1.1\r\nHost: "...)
	if len(r.authority) > 0 {
		dst = append(dst, r.authority...)
	} else {
		dst = append(dst, edit.Host...)
	}
	dst = append(dst, "\r\n"...)
	dst, had := appendKept(dst, &r.fields, requestID, false)
	if !had && edit.RequestID != "" {
		dst = appendField(dst, "x-request-id: ", edit.RequestID)
	}
	if edit.Source != "" {
		dst = appendField(dst, "weft-source: ", edit.Source)
	}
	if r.Continue {
		dst = append(dst, "Expect: 100-continue\r\n"...)
	}
	if r.Trailers {
		dst = append(dst, "TE: trailers\r\nConnection: TE\r\n"...)
	}
	if len(r.Upgrade) > 0 {
		dst = appendUpgrade(dst, r.Upgrade)
	}
	dst = appendFraming(dst, r.Body, r.Length)
	return append(dst, "\r\n"...)
}

// ResponseEdit is what a proxy changes in a response.
type ResponseEdit struct {
	// Body is how the body is delimited on this hop.
	Body Framing
	// Close: this is the last exchange. KeepAlive: it is not, and the client is of HTTP/1.0 and must be told.
	Close, KeepAlive bool
	// Mesh: the response comes from another sidecar, whose weft-* fields are passed on.
	Mesh bool
}

// AppendResponse writes the head of the response for the previous hop.
func AppendResponse(dst []byte, r *Response, edit ResponseEdit) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(r.Status), 10)
	dst = append(dst, ' ')
	dst = append(dst, r.reason...)
	dst = append(dst, "\r\n"...)
	dst, _ = appendKept(dst, &r.fields, other, edit.Mesh)
	switch {
	case r.Upgraded:
		if value, ok := r.Header("upgrade"); ok {
			dst = appendUpgrade(dst, value)
		}
	case r.Informational():
	case edit.Close:
		dst = append(dst, "Connection: close\r\n"...)
	case edit.KeepAlive:
		dst = append(dst, "Connection: keep-alive\r\n"...)
	}
	if r.advertise {
		if offer := r.upgrades(nil); len(offer) > 0 {
			dst = appendUpgrade(dst, offer)
		}
	}
	if r.Body == NoBody && r.declared >= 0 {
		dst = appendFraming(dst, Sized, r.declared)
	} else {
		dst = appendFraming(dst, edit.Body, r.Length)
	}
	return append(dst, "\r\n"...)
}

// appendKept copies the lines that go on to the next hop, neighbours at once. had says whether one of them is watched.
func appendKept(dst []byte, f *fields, watched name, mesh bool) (out []byte, had bool) {
	var from, to uint32 // the run that waits to be copied
	for i := range f.list {
		fd := &f.list[i]
		keep := fd.id == other || fd.id == requestID || fd.id == weft && mesh
		if !keep || f.dropped(fd) {
			continue
		}
		had = had || fd.id == watched
		if fd.name.from != to {
			dst = append(dst, f.raw[from:to]...)
			from = fd.name.from
		}
		to = fd.end
	}
	return append(dst, f.raw[from:to]...), had
}

func appendFraming(dst []byte, body Framing, length int64) []byte {
	switch body {
	case Chunked:
		return append(dst, "Transfer-Encoding: chunked\r\n"...)
	case Sized:
		dst = append(dst, "Content-Length: "...)
		return append(strconv.AppendInt(dst, length, 10), "\r\n"...)
	}
	return dst
}

func appendField(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}

func query(target []byte) []byte {
	for i, c := range target {
		if c == '?' {
			return target[i:]
		}
	}
	return nil
}
