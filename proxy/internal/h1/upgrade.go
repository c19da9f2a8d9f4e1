package h1

import "bytes"

// upgrades appends, as one list, the protocols of the Upgrade fields that may take a connection over.
func (f *fields) upgrades(dst []byte) []byte {
	for i := range f.list {
		if f.list[i].id != upgrade {
			continue
		}
		var token []byte
		for list := f.at(f.list[i].value); len(list) > 0; {
			token, list = nextToken(list)
			if !switchable(token) {
				continue
			}
			if len(dst) > 0 {
				dst = append(dst, ", "...)
			}
			dst = append(dst, token...)
		}
	}
	return dst
}

// switchable says whether a protocol ("name" or "name/version") may follow a 101. Versions of HTTP may not: they would carry
// requests that no rule has seen. Nor may TLS, which would hide them.
func switchable(protocol []byte) bool {
	name, version, versioned := bytes.Cut(protocol, []byte{'/'})
	if len(name) == 0 || !all(name, tokenChar) || versioned && (len(version) == 0 || !all(version, tokenChar)) {
		return false
	}
	for _, lower := range [...]string{"h2c", "h2", "h3", "http", "https", "tls", "ssl"} {
		if fold(name, lower) {
			return false
		}
	}
	return true
}

// SwitchedTo says whether a server's 101 switches to what the request has asked for, and to nothing else.
func (r *Response) SwitchedTo(asked []byte) bool {
	if !r.Upgraded {
		return false
	}
	named := false
	for i := range r.list {
		if r.list[i].id != upgrade {
			continue
		}
		var token []byte
		for list := r.at(r.list[i].value); len(list) > 0; {
			token, list = nextToken(list)
			if !listed(asked, token) {
				return false
			}
			named = true
		}
	}
	return named
}

// listed says whether a list has an element, in whatever case.
func listed(list, element []byte) bool {
	var token []byte
	for len(list) > 0 {
		token, list = nextToken(list)
		if len(token) > 0 && bytes.EqualFold(token, element) {
			return true
		}
	}
	return false
}

// appendUpgrade writes the two fields that ask for a protocol, or agree to one.
func appendUpgrade(dst, protocols []byte) []byte {
	dst = append(dst, "Connection: Upgrade\r\nUpgrade: "...)
	return append(append(dst, protocols...), "\r\n"...)
}
