package h2

import (
	"errors"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2/hpack"
)

// errTunnel says that CONNECT, whether plain or extended, is not relayed. Nobody is told that it would be: a client that keeps
// to RFC 8441 opens its WebSockets by HTTP/1.1.
var errTunnel = errors.New("CONNECT is not served")

// errMalformed is what is wrong with messages that RFC 9113 section 8.1.1 calls malformed.
var errMalformed = errors.New("malformed message")

// head is what the pseudo-headers and the framing headers of a message say.
type head struct {
	method, scheme, path, authority string // requests
	protocol                        string // of an extended CONNECT (RFC 8441)
	status                          int    // responses
	host                            string
	length                          int64 // -1 when not declared
}

// pseudo is where a request's pseudo-header goes; nil for an unknown one.
func (h *head) pseudo(name string) *string {
	switch name {
	case ":method":
		return &h.method
	case ":scheme":
		return &h.scheme
	case ":path":
		return &h.path
	case ":authority":
		return &h.authority
	case ":protocol":
		return &h.protocol
	default:
		return nil
	}
}

// validateRequest checks a request's header list.
func validateRequest(fields []hpack.HeaderField) (head, error) {
	h := head{length: -1}
	regular := false
	for i := range fields {
		f := &fields[i]
		if !f.IsPseudo() {
			regular = true
			if err := h.regular(f, true); err != nil {
				return h, err
			}
			continue
		}
		slot := h.pseudo(f.Name)
		// Twice, late, unknown or empty: two readers could see two different requests.
		if slot == nil || *slot != "" || f.Value == "" || regular || !httpguts.ValidHeaderFieldValue(f.Value) {
			return h, errMalformed
		}
		*slot = f.Value
	}
	if h.method == "CONNECT" && h.protocol == "" {
		if h.scheme != "" || h.path != "" || h.authority == "" {
			return h, errMalformed
		}
		return h, nil
	}
	if !h.whole() || !scheme(h.scheme) || !host(h.authority) || !host(h.host) {
		return h, errMalformed
	}
	if h.host != "" && h.authority != "" && h.host != h.authority {
		return h, errMalformed
	}
	return h, nil
}

// whole says whether a request has the pseudo-headers that it must have, and no other.
func (h *head) whole() bool {
	return h.method != "" && h.scheme != "" && h.path != "" && (h.protocol == "" || h.method == "CONNECT") && httpguts.ValidHeaderFieldName(h.method)
}

// scheme says whether s is one: another reader might make a URL of it and what follows.
func scheme(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if (c < 'a' || c > 'z') && (i == 0 || (s[i] < '0' || s[i] > '9') && s[i] != '+' && s[i] != '-' && s[i] != '.') {
			return false
		}
	}
	return s != ""
}

// host says whether s can be a host with a port: no user, no path, and nothing between words. None is fine.
func host(s string) bool {
	for i := range len(s) {
		if c := s[i]; !httpguts.IsTokenRune(rune(c)) && strings.IndexByte("()+,;=:[]", c) < 0 || c == '#' || c == '^' || c == '`' || c == '|' {
			return false
		}
	}
	return true
}

// validateResponse checks a response's header list.
func validateResponse(fields []hpack.HeaderField) (head, error) {
	h := head{length: -1}
	for i := range fields {
		f := &fields[i]
		if !f.IsPseudo() {
			if err := h.regular(f, false); err != nil {
				return h, err
			}
			continue
		}
		n, err := strconv.Atoi(f.Value)
		if f.Name != ":status" || i != 0 || err != nil || len(f.Value) != 3 || n < 100 {
			return h, errMalformed
		}
		h.status = n
	}
	if h.status == 0 {
		return h, errMalformed
	}
	return h, nil
}

// validateTrailers checks a list that ends a message.
func validateTrailers(fields []hpack.HeaderField) error {
	h := head{length: -1}
	for i := range fields {
		if fields[i].IsPseudo() {
			return errMalformed
		}
		if err := h.regular(&fields[i], false); err != nil {
			return err
		}
	}
	return nil
}

// regular checks one header that is no pseudo-header.
func (h *head) regular(f *hpack.HeaderField, request bool) error {
	if !validName(f.Name) || !validValue(f.Value) {
		return errMalformed
	}
	switch f.Name {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
		return errMalformed
	case "te":
		if f.Value != "trailers" {
			return errMalformed
		}
	case "host":
		if request && (h.host != "" && h.host != f.Value || f.Value == "") {
			return errMalformed
		}
		h.host = f.Value
	case "content-length":
		n, err := strconv.ParseUint(f.Value, 10, 63)
		if err != nil || f.Value[0] == '+' || h.length >= 0 && h.length != int64(n) {
			return errMalformed
		}
		h.length = int64(n)
	}
	return nil
}

// validName accepts tokens in lower case.
func validName(name string) bool {
	if name == "" {
		return false
	}
	for i := range len(name) {
		if c := name[i]; 'A' <= c && c <= 'Z' || !httpguts.IsTokenRune(rune(c)) {
			return false
		}
	}
	return true
}

// validValue accepts what cannot end a line or a string for anybody further on.
func validValue(value string) bool {
	for i := range len(value) {
		if c := value[i]; c == 0 || c == '\r' || c == '\n' {
			return false
		}
	}
	return true
}
