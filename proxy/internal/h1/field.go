package h1

import "bytes"

// name is what the engine knows of a field.
type name uint8

const (
	other name = iota
	host
	connection
	contentLength
	transferEncoding
	te
	upgrade
	expect
	requestID
	hop  // dropped: keep-alive, proxy-*, http2-settings
	weft // dropped: weft-*, which only proxies may say
)

// span is a part of a head.
type span struct{ from, to uint32 }

type field struct {
	name  span
	value span
	id    name
	end   uint32 // of the line
}

// fields are the header fields of one head.
type fields struct {
	raw  []byte
	list []field
	// nominated: Connection lists fields, not just options.
	nominated bool
	// most is how many fields there may be, longest how long a target; 0: as many as usual.
	most, longest int
}

func (f *fields) at(s span) []byte { return f.raw[s.from:s.to] }

// bound is a limit that was set, or the usual one.
func bound(set, usual int) int {
	if set > 0 {
		return set
	}
	return usual
}

// parse reads lines from raw[from:], which ends with an empty line. Lines are known to end in CR LF.
func (f *fields) parse(raw []byte, from int) error {
	f.raw, f.list, f.nominated = raw, f.list[:0], false
	for raw[from] != '\r' || raw[from+1] != '\n' {
		if len(f.list) == bound(f.most, maxFields) {
			return ErrFields
		}
		n := bytes.IndexByte(raw[from:], '\n')
		line := raw[from : from+n-1]
		if line[0] == ' ' || line[0] == '\t' {
			return ErrFold
		}
		colon := bytes.IndexByte(line, ':')
		if colon <= 0 || !all(line[:colon], tokenChar) || !all(line[colon+1:], valueChar) {
			return ErrField
		}
		value := trim(line[colon+1:])
		at := from + colon + 1
		if len(value) > 0 {
			at = from + len(line) - len(line[colon+1:]) + bytes.IndexByte(line[colon+1:], value[0])
		}
		f.list = append(f.list, field{
			name:  span{uint32(from), uint32(from + colon)},
			value: span{uint32(at), uint32(at + len(value))},
			id:    identify(line[:colon]),
			end:   uint32(from + n + 1),
		})
		from += n + 1
	}
	return nil
}

func identify(s []byte) name {
	switch s[0] | 0x20 {
	case 'h':
		return either(s, "host", host, "http2-settings", hop)
	case 'c':
		if fold(s, "connection") {
			return connection
		}
		return either(s, "content-length", contentLength, "", other)
	case 't':
		return either(s, "transfer-encoding", transferEncoding, "te", te)
	case 'u':
		return either(s, "upgrade", upgrade, "", other)
	case 'e':
		return either(s, "expect", expect, "", other)
	case 'k':
		return either(s, "keep-alive", hop, "", other)
	case 'x':
		return either(s, "x-request-id", requestID, "", other)
	case 'p':
		return prefixed(s, "proxy-", hop)
	case 'w':
		// Gateways to programs often make "-" and "_" the same.
		if id := prefixed(s, "weft-", weft); id != other {
			return id
		}
		return prefixed(s, "weft_", weft)
	}
	return other
}

func either(s []byte, a string, ida name, b string, idb name) name {
	if fold(s, a) {
		return ida
	}
	if b != "" && fold(s, b) {
		return idb
	}
	return other
}

func prefixed(s []byte, prefix string, id name) name {
	if len(s) > len(prefix) && fold(s[:len(prefix)], prefix) {
		return id
	}
	return other
}

// get returns the value of a field that is not for this hop only, by its lower-case name; several are joined in scratch, which is returned for re-use.
func (f *fields) get(lower string, scratch []byte) (value, joined []byte, ok bool) {
	found := 0
	for i := range f.list {
		fd := &f.list[i]
		if int(fd.name.to-fd.name.from) != len(lower) || !fold(f.at(fd.name), lower) {
			continue
		}
		if fd.id == weft || fd.id == hop || fd.id == connection || f.dropped(fd) {
			continue
		}
		found++
		switch found {
		case 1:
			value = f.at(fd.value)
		case 2:
			scratch = append(append(scratch[:0], value...), ", "...)
			fallthrough
		default:
			if found > 2 {
				scratch = append(scratch, ", "...)
			}
			scratch = append(scratch, f.at(fd.value)...)
		}
	}
	if found > 1 {
		value = scratch
	}
	return value, scratch, found > 0
}

// framing works out how the body is delimited from the fields that say so.
func (f *fields) framing() (body Framing, length int64, err error) {
	length = -1
	for i := range f.list {
		fd := &f.list[i]
		switch fd.id {
		case contentLength:
			n, ok := decimal(f.at(fd.value))
			if !ok || length >= 0 && n != length {
				return NoBody, 0, ErrLength
			}
			length = n
		case transferEncoding:
			if body == Chunked || !fold(f.at(fd.value), "chunked") {
				return NoBody, 0, ErrEncoding
			}
			body = Chunked
		}
	}
	switch {
	case body == Chunked && length >= 0:
		return NoBody, 0, ErrSmuggling
	case body == Chunked:
		return Chunked, -1, nil
	case length >= 0:
		return Sized, length, nil
	}
	return NoBody, -1, nil
}

// decimal parses digits only: no sign, no list, no overflow.
func decimal(s []byte) (n int64, ok bool) {
	if len(s) == 0 || len(s) > 18 {
		return 0, false
	}
	for _, c := range s {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// options are what Connection can say to us.
type options struct{ close, keepAlive, upgrade bool }

// connection reads every Connection field.
func (f *fields) connection() (o options) {
	for i := range f.list {
		if f.list[i].id != connection {
			continue
		}
		var token []byte
		for list := f.at(f.list[i].value); len(list) > 0; {
			token, list = nextToken(list)
			switch {
			case fold(token, "close"):
				o.close = true
			case fold(token, "keep-alive"):
				o.keepAlive = true
			case fold(token, "upgrade"):
				o.upgrade = true
			case len(token) > 0:
				f.nominated = true
			}
		}
	}
	return o
}

// dropped says whether Connection nominates the field for this hop only. Fields that carry identity, permission or
// framing cannot be nominated away: an attacker would choose what the next hop does not see.
func (f *fields) dropped(fd *field) bool {
	if !f.nominated || protected(f.at(fd.name)) {
		return false
	}
	for i := range f.list {
		if f.list[i].id != connection {
			continue
		}
		var token []byte
		for list := f.at(f.list[i].value); len(list) > 0; {
			token, list = nextToken(list)
			if bytes.EqualFold(token, f.at(fd.name)) {
				return true
			}
		}
	}
	return false
}

func protected(s []byte) bool {
	for _, lower := range [...]string{"authorization", "cookie", "forwarded", "origin", "set-cookie", "traceparent", "tracestate", "x-real-ip"} {
		if fold(s, lower) {
			return true
		}
	}
	return prefixed(s, "x-forwarded-", weft) != other || prefixed(s, "content-", weft) != other
}
